"""The floating-point arithmetic of the code under test, inferred from its results for any dtype that stores them."""

from collections.abc import Iterator

import numpy as np

from bncheck.model.components import AFFINE, NETWORK, RELU
from bncheck.model.precision import FLOAT32, FLOAT64, SIGNIFICANT_BITS, Precision, round_to_bits
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.results import PairOutput
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.error_bounds import output_bound, term_sizes

# The least precise first: a value that fits in 8 bits also fits in 24.
NARROW = tuple(Precision(name) for name in ("bfloat16", "float16", "float32"))
# Values that a gradient needs before its bits are conclusive: for float32, and for 16-bit arithmetic ...
MIN_VALUES, MIN_16_BIT_VALUES = 4, 16
# ... of which at least this fraction uses the last bit: half of all round_to_bits numbers do, but few small integers.
MIN_LAST_BIT_FRACTION = 0.25
# float32 results have 17 to 24 significant bits; numbers with fewer bits may be integers.
MIN_FLOAT32_BITS = 17
# A value smaller than this fraction of its terms is left over from cancellation and has few bits in any arithmetic.
MIN_FRACTION_OF_TERMS = 2.0**-20
# Products in float64 lose bits below this magnitude.
MIN_MAGNITUDE = 2.0**-960
# Bits that a 16-bit output uses at least; 0, 1, -1 and other small integers do not reveal an arithmetic.
MIN_BITS = 4
# Roundings in float64 between xhat and gamma xhat + beta.
XHAT_ROUNDINGS = 16


def infer_precision(pair_output: PairOutput, problem: Problem, base: BasePoint) -> Precision:
    """Return the arithmetic that a pair computes in: the least precise of all arrays that it returned.

    A dtype less precise than float64 is conclusive. Code may also compute in one dtype and return another. Then

    - the output has few significant bits, and matches the reference within the rounding of that arithmetic;
    - or xhat, computed from the output and the exact gamma and beta, has few significant bits;
    - or a gradient has few, in entries that are not left over from cancellation.

    Parameters
    ----------
    pair_output : PairOutput
        The returned arrays.
    problem : Problem
        The arguments of the functions.
    base : BasePoint
        The reference forward pass on the problem.

    Returns
    -------
    Precision
    """
    returned = (pair_output.output, *pair_output.gradients.values())
    dtypes = zip(returned, pair_output.dtypes, strict=True)
    # An array of zeros, such as a db that is not computed, is exact in any dtype.
    precisions = [Precision(name) for array, name in dtypes if name in SIGNIFICANT_BITS and array.any()]
    with np.errstate(all="ignore"):  # wrong values may overflow or be NaN
        if pair_output.component in (AFFINE, RELU):
            arguments = [*pair_output.component.arrays(problem).values(), problem.dout]
            if not any(FLOAT32.can_represent(array.ravel()) for array in arguments):
                precisions += [_precision_of_values(_normal_numbers(a)) for a in returned if a.dtype.kind == "f"]
        else:
            precisions.append(_precision_of_output(pair_output, base))
            if problem.N > 1:
                precisions += map(_precision_of_values, _values_beyond_cancellation(pair_output, base))
    return Precision.least_precise(precisions)


def _normal_numbers(array: np.ndarray) -> FloatArray:
    """Return the values of an array that are finite and neither 0 nor subnormal, as float64."""
    values = array.astype(np.float64).ravel()
    result: FloatArray = values[np.isfinite(values) & (np.abs(values) >= MIN_MAGNITUDE)]
    return result


def _precision_of_output(pair_output: PairOutput, base: BasePoint) -> Precision:
    """Return the arithmetic of the output of batch norm or of the network."""
    is_network = pair_output.component is NETWORK
    expected = np.maximum(base.y, 0.0) if is_network else base.y
    if pair_output.output.shape != expected.shape or pair_output.output.dtype.kind != "f":
        return FLOAT64
    output = pair_output.output.astype(np.float64)
    values, reference = _normal_numbers(output), _normal_numbers(expected)
    for precision in NARROW:
        if values.size and precision.can_represent(values) and not precision.can_represent(reference):
            trivial = precision.is_16_bit and bool((round_to_bits(values, MIN_BITS - 1) == values).all())
            # An output beyond the range of float16 may have any value.
            matches = not precision.bounds_errors_on(base.problem) or _is_output_of(precision, output, expected, base)
            return precision if matches and not trivial else FLOAT64
    p = base.problem
    used = (p.gamma != 0) & ((output > 0) & (expected > 0) if is_network else np.isfinite(output))
    shift, scale = np.broadcast_to(p.beta / p.gamma, output.shape)[used], np.broadcast_to(p.gamma, output.shape)[used]
    is_float32 = (
        _are_float32_values(output[used] / scale - shift, shift)
        and not _are_float32_values(base.xhat[used], shift)
        and _is_output_of(FLOAT32, output, expected, base)
    )
    return FLOAT32 if is_float32 else FLOAT64


def _is_output_of(precision: Precision, output: FloatArray, expected: FloatArray, base: BasePoint) -> bool:
    """Return whether an output matches the expected one within the rounding of an arithmetic; NaN is ignored."""
    factor = precision.roundoff_factor
    return not (np.abs(output - expected) > factor * output_bound(base, factor)).any()


def _are_float32_values(xhat: FloatArray, shift: FloatArray) -> bool:
    """Return whether values of xhat are float32 numbers up to the rounding of gamma xhat + beta in float64."""
    if xhat.size < MIN_VALUES:
        return False
    allowed = XHAT_ROUNDINGS * 2.0**-53 * (np.abs(xhat) + np.abs(shift))
    return bool((np.abs(round_to_bits(xhat, FLOAT32.bits) - xhat) <= allowed).all())


def _values_beyond_cancellation(pair_output: PairOutput, base: BasePoint) -> Iterator[FloatArray]:
    """Yield the values of each gradient that are not much smaller than their terms."""
    terms = term_sizes(base, [name for name in pair_output.gradients if name in ("X", "W", "gamma", "h")])
    for name, size in terms.items():
        gradient = pair_output.gradients[name]
        if gradient.dtype.kind == "f" and gradient.shape == size.shape:
            yield _normal_numbers(gradient[np.abs(gradient) >= MIN_FRACTION_OF_TERMS * size])


def _precision_of_values(values: FloatArray) -> Precision:
    """Return the least precise arithmetic whose significant bits the values fit in and make use of."""
    if values.size < MIN_VALUES or not FLOAT32.can_represent(values):
        return FLOAT64
    if not bool((round_to_bits(values, MIN_FLOAT32_BITS - 1) == values).all()):
        return FLOAT32
    for precision in NARROW if values.size >= MIN_16_BIT_VALUES else ():
        if precision.is_16_bit and precision.can_represent(values):
            use_last_bit = float((round_to_bits(values, precision.bits - 1) != values).mean())
            return precision if use_last_bit >= MIN_LAST_BIT_FRACTION else FLOAT64
    return FLOAT64
