"""Which floating-point arithmetic code computes in, recognized from what it returned, whatever that is stored in."""

from collections.abc import Iterator, Mapping

import numpy as np

from bncheck.model.components import AFFINE, NETWORK, RELU
from bncheck.model.precision import FLOAT32, FLOAT64, SIGNIFICANT_BITS, Precision, round_to_bits
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.results import PairOutput
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.error_bounds import output_bound, term_sizes

# From the least precise one on: what fits in 8 bits fits in 24.
NARROW = tuple(Precision(name) for name in ("bfloat16", "float16", "float32"))
# Values that a gradient must have to show anything by their bits, and those of 16 bits ...
MIN_VALUES, MIN_16_BIT_VALUES = 4, 16
# ... of which at least this share uses the last bit of the dtype: of rounded numbers half do, of small integers few.
MIN_LAST_BIT_SHARE = 0.25
# float32 values have 17 to 24 bits: fewer may be integers.
MIN_FLOAT32_BITS = 17
# A value this much smaller than the terms that it is the sum of is left over from cancellation, and has few bits in
# any arithmetic.
MIN_SHARE_OF_TERMS = 2.0**-20
# Below this float64's own products have lost bits.
MIN_MAGNITUDE = 2.0**-960
# Bits that an output of 16 bits must use: 0, 1, -1 and other small integers are no sign of an arithmetic.
MIN_BITS = 4
# Roundings in float64 that lie between xhat and gamma xhat + beta.
XHAT_ROUNDINGS = 16


def precision_of(answer: PairOutput, problem: Problem, base: BasePoint) -> Precision:
    """Return the arithmetic that an answer was computed in: the least precise of all its arrays.

    A dtype that is less precise than float64 speaks for itself. Code may also compute in one and return another. Then

    - the output has few significant bits, and is the reference's to within that arithmetic's rounding;
    - or xhat, which follows from the output and the exact gamma and beta, has few;
    - or a gradient has few, in entries that are not left over from cancellation.

    Parameters
    ----------
    answer : Answer
        What was returned.
    problem : Problem
        What the functions were given.
    base : BasePoint
        The reference's forward pass at the problem.

    Returns
    -------
    Precision
    """
    arrays = zip((answer.output, *answer.gradients.values()), answer.dtypes, strict=True)
    # An array of zeros, such as a db that is not computed, shows no arithmetic.
    dtypes = [name for array, name in arrays if name in SIGNIFICANT_BITS and array.any()]
    precisions = [Precision(name) for name in dtypes]
    with np.errstate(all="ignore"):  # a wrong value may be anything
        if answer.component in (AFFINE, RELU):
            given = [*answer.component.arrays(problem).values(), problem.dout]
            if not any(FLOAT32.can_represent(array.ravel()) for array in given):
                precisions += map(_by_bits, _numbers({"": answer.output, **answer.gradients}).values())
        else:
            precisions.append(_of_output(answer, base))
            if problem.N > 1:
                precisions += map(_by_bits, _beyond_cancellation(answer, base))
    return Precision.least_precise(precisions)


def _numbers(arrays: Mapping[str, np.ndarray]) -> dict[str, FloatArray]:
    """Return the finite values of arrays of floating-point numbers that are neither 0 nor subnormal."""
    numbers = {name: array.astype(np.float64).ravel() for name, array in arrays.items() if array.dtype.kind == "f"}
    return {name: v[np.isfinite(v) & (np.abs(v) >= MIN_MAGNITUDE)] for name, v in numbers.items()}


def _of_output(answer: PairOutput, base: BasePoint) -> Precision:
    """Return the arithmetic that the output of batch norm or of the network shows."""
    expected = np.maximum(base.y, 0.0) if answer.component is NETWORK else base.y
    if answer.output.shape != expected.shape or answer.output.dtype.kind != "f":
        return FLOAT64
    output = answer.output.astype(np.float64)
    values, reference = _numbers({"": output})[""], _numbers({"": expected})[""]
    for precision in NARROW:
        if values.size and precision.can_represent(values) and not precision.can_represent(reference):
            trivial = precision.is_16_bit and bool((round_to_bits(values, MIN_BITS - 1) == values).all())
            # Beyond float16's range its output is anything.
            shown = not precision.bounds_errors_on(base.problem) or _matches(output, expected, base, precision)
            return precision if shown and not trivial else FLOAT64
    p = base.problem
    used = (p.gamma != 0) & ((output > 0) & (expected > 0) if answer.component is NETWORK else np.isfinite(output))
    shift, scale = np.broadcast_to(p.beta / p.gamma, output.shape)[used], np.broadcast_to(p.gamma, output.shape)[used]
    if _is_nearly_single(output[used] / scale - shift, shift) and not _is_nearly_single(base.xhat[used], shift):
        return FLOAT32 if _matches(output, expected, base, FLOAT32) else FLOAT64
    return FLOAT64


def _matches(output: FloatArray, expected: FloatArray, base: BasePoint, precision: Precision) -> bool:
    """Tell whether an output is the expected one to within the rounding of an arithmetic, where it is finite."""
    factor = precision.roundoff_factor
    off = np.abs(output - expected) > factor * output_bound(base, factor)
    return not off.any()


def _is_nearly_single(xhat: FloatArray, shift: FloatArray) -> bool:
    """Tell whether values of xhat are those of float32 but for their scaling and shifting in float64."""
    if xhat.size < MIN_VALUES:
        return False
    allowed = XHAT_ROUNDINGS * 2.0**-53 * (np.abs(xhat) + np.abs(shift))
    return bool((np.abs(round_to_bits(xhat, FLOAT32.bits) - xhat) <= allowed).all())


def _beyond_cancellation(answer: PairOutput, base: BasePoint) -> Iterator[FloatArray]:
    """Yield of each gradient the values that are not much smaller than their terms."""
    terms = term_sizes(base, [name for name in answer.gradients if name in ("X", "W", "gamma", "h")])
    for name, size in terms.items():
        gradient = answer.gradients[name]
        if gradient.dtype.kind == "f" and gradient.shape == size.shape:
            yield _numbers({"": gradient[np.abs(gradient) >= MIN_SHARE_OF_TERMS * size]})[""]


def _by_bits(values: FloatArray) -> Precision:
    """Return the arithmetic whose significant bits the values of a gradient fit in and use."""
    if values.size < MIN_VALUES or not FLOAT32.can_represent(values):
        return FLOAT64
    if not bool((round_to_bits(values, MIN_FLOAT32_BITS - 1) == values).all()):
        return FLOAT32
    for precision in NARROW if values.size >= MIN_16_BIT_VALUES else ():
        if precision.is_16_bit and precision.can_represent(values):
            last = float((round_to_bits(values, precision.bits - 1) != values).mean())
            return precision if last >= MIN_LAST_BIT_SHARE else FLOAT64
    return FLOAT64
