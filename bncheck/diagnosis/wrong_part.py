"""The first wrong parts of a forward/backward pair, and the identities and the Taylor test of its gradients."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bncheck.diagnosis.describe import rounding_levels
from bncheck.diagnosis.discrepancy import Discrepancy
from bncheck.diagnosis.evidence import Evidence, has_wrong_shape_or_dtype
from bncheck.diagnosis.factors import find_factor
from bncheck.diagnosis.terms import VARIES_BY_UNIT, find_terms
from bncheck.mistakes import mistake_named
from bncheck.mistakes.pass_values import PassValues
from bncheck.model.components import Component
from bncheck.model.diagnosis_records import Identity, WrongPart
from bncheck.model.problem import FloatArray
from bncheck.model.results import PairResult
from bncheck.model.verdict import Verdict
from bncheck.numerical.basepoint import UNIT_ROUNDOFF

# Steps of the Taylor test; below the last one the remainder is rounding.
TAYLOR_STEPS = tuple(2.0**-k for k in range(12, 21))
# Steps at which the Taylor remainder must exceed rounding, to fit an order.
MIN_TAYLOR_POINTS = 3
# The rounding error allowed in a sum, in units of the unit roundoff times the sum of the magnitudes of the summands.
SUM_ROUNDINGS = 64
LAYER_PARTS = {"affine": "the affine layer", "relu": "the ReLU mask"}
BATCHNORM_PART = "the backward pass of batch norm"
TERMS = ("the direct term", "the mean term", "the variance term")
# Identities between sums over all entries: component (empty: any), formula, names on the left and on the right. "L" is
# the loss, the sum of dout times the component's output; each other name stands for the sum of input times gradient.
SUMS = (
    ("", "sum W dW + sum b db = sum h dh", ("W", "b"), ("h",)),
    ("affine", "sum W dW + sum b db = L", ("W", "b"), ("L",)),
    ("", "sum X dX = sum W dW", ("X",), ("W",)),
    ("", "L = sum gamma dgamma + sum beta dbeta", ("L",), ("gamma", "beta")),
    ("", "L = sum y dy", ("L",), ("y",)),
)


class Fault(NamedTuple):
    """A wrong part of a backward pass."""

    part: str  # template with {} for the detail; the faults of two problems are the same if their templates are equal
    detail: str = ""  # rows, columns, numbers or names, which may differ between problems with the same fault

    def __str__(self) -> str:
        return self.part.format(self.detail)


@np.errstate(all="ignore")  # wrong values may overflow or be invalid
def find_wrong_part(result: PairResult, mistake_code: str | None) -> WrongPart:
    """Locate the wrong part of a forward/backward pair and test the identities of its gradients.

    Parameters
    ----------
    result : PairResult
        A pair that fails on one problem.
    mistake_code : str or None
        The code of the identified mistake; None if no mistake was identified.

    Returns
    -------
    WrongPart
        With the names that the code under test uses: dx for the dh of a layer.
    """
    function, part = result.pair_output.backward_name, " and ".join(map(str, find_faults(result, mistake_code)))
    if result.measurement.black_box:  # the identities and the loss of the Taylor test are those of batch norm
        return WrongPart(function, part, (), None)
    labels = {f"d{name}": gradient.name for name, gradient in result.gradients.items()}
    identities = tuple(
        Identity(re.sub(r"\bd\w+", lambda m: labels.get(m[0], m[0]), formula), satisfied)
        for formula, satisfied in _identities(result)
    )
    return WrongPart(function, part, identities, _taylor_order(result) if _is_complete(result) else None)


@np.errstate(all="ignore")  # wrong values may overflow or be invalid
def find_faults(result: PairResult, mistake_code: str | None) -> list[Fault]:
    """Return the wrong parts of a pair that fails on one problem, in the order of backpropagation."""
    component, wrong, returned = result.pair_output.component.name, set(result.failed), result.gradients.keys()
    if result.output.wrong:
        name = result.pair_output.forward_name or "forward"
        return [Fault("the forward pass{}", f" ({name}){_describe_derivative(result)}")]
    misshapen = [result.gradients[n].name for n in result.failed if has_wrong_shape_or_dtype(result, n)]
    if misshapen:
        return [Fault(f"the shape or type of {' and '.join(misshapen)}")]
    section = mistake_named(mistake_code).section if mistake_code else ""
    layer = "relu" if section == "ReLU" else component
    if layer in LAYER_PARTS:
        return [Fault(LAYER_PARTS[layer])]
    # If dh was not returned and all returned gradients of W and X are wrong, the error is attributed to dh, unless the
    # identified mistake is in the affine layer or in a shape.
    may_be_in_dh = "h" not in returned and section not in ("affine", "shapes")
    dh_is_wrong = "h" in wrong or (may_be_in_dh and set() < {"W", "X"} & returned <= wrong)
    fault = _fault_in_dh(result) if dh_is_wrong else None
    if fault and component == "network" and {"beta", "gamma"} <= wrong and fault.part == BATCHNORM_PART:
        return [Fault("the ReLU mask or several steps: everything computed after it is wrong")]
    faults = []
    if wrong & {"beta", "gamma"}:
        faults.append(Fault("the sums over the batch{}", _list_gradients(wrong, ("gamma", "beta"))))
    if fault:
        faults.append(fault)
    elif wrong & {"W", "X", "b"}:
        faults.append(Fault("the affine layer{}", _list_gradients(wrong, ("X", "W", "b"))))
    return faults


def _list_gradients(wrong: set[str], names: tuple[str, ...]) -> str:
    return f" ({', '.join(f'd{name}' for name in names if name in wrong)})"


def _describe_derivative(result: PairResult) -> str:
    """State whether the backward pass is the derivative of the wrong forward pass, if that was established."""
    if not result.measurement.black_box:  # the gradients were compared with those of batch norm
        return ""
    if result.failed:
        return "; the backward pass is not its derivative"
    passed = all(g.verdict is Verdict.PASS and g.checked == g.entries for g in result.gradients.values())
    return "; the backward pass is its correct derivative" if passed and _is_complete(result) else ""


def _fault_in_dh(result: PairResult) -> Fault:
    """Return the wrong rows, factor or terms of dh, from the first wrong gradient among dh, dW and dX."""
    evidence = Evidence([result])
    name = next(n for n in ("h", "W", "X") if n in result.failed)
    discrepancy = Discrepancy.from_problem(evidence.primary(name), name)
    if discrepancy.region:
        return Fault(f"{result.gradients[name].name}{{}}", f", {discrepancy.region}")
    factor = find_factor(evidence, name, discrepancy)
    if not factor and rounding_levels(evidence, name):
        return Fault("probably only rounding")
    terms = None if factor else find_terms(evidence, name)
    if terms and terms.exact and len(set(terms.labels)) == 1:
        factor = terms.labels[0]
    if factor:
        return Fault("a factor{} on all three terms", f" {'that' if factor == VARIES_BY_UNIT else 'of'} {factor}")
    if terms and terms.exact:
        wrong_terms = (term for term, label in zip(TERMS, terms.labels, strict=True) if label != "1")
        return Fault(" and ".join(wrong_terms))
    is_located = name == "h" or {"W", "X"} <= result.gradients.keys()
    return Fault(BATCHNORM_PART if is_located else f"{BATCHNORM_PART} or the affine layer")


def _identities(result: PairResult) -> Iterator[tuple[str, bool]]:
    """Yield the exact identities between the returned gradients, and whether they are satisfied."""
    component = result.pair_output.component
    correct = PassValues.from_problem(result.measurement.problem, component)
    analytic = {name: gradient.analytic for name, gradient in result.gradients.items()}
    factor, numerical = result.precision.roundoff_factor, result.measurement.gradients
    # The largest rounding error of each entry of a correct gradient.
    error = {n: np.broadcast_to(factor * numerical[n].conditioning, numerical[n].value.shape) for n in analytic}
    if {"h", "gamma"} <= set(component.inputs):
        if "h" in analytic:
            yield "sum dh = 0", bool((np.abs(analytic["h"].sum(axis=0)) <= error["h"].sum(axis=0)).all())
        elif "b" in analytic:
            yield "db = 0", bool((np.abs(analytic["b"]) <= error["b"]).all())
        if {"h", "gamma"} <= analytic.keys():
            scale = correct.gamma * correct.eps / correct.sigma**3
            difference = (analytic["h"] * correct.xhat).sum(axis=0) - scale * analytic["gamma"]
            allowance = (error["h"] * np.abs(correct.xhat)).sum(axis=0) + np.abs(scale) * error["gamma"]
            yield "sum dh xhat = gamma dgamma eps / sigma^3", bool((np.abs(difference) <= allowance).all())
    summands = {"L": correct.dout * correct[component.output]} | {n: correct[n] * analytic[n] for n in analytic}
    allowances = {"L": 0.0} | {n: float((np.abs(correct[n]) * error[n]).sum()) for n in analytic}
    for only_in, formula, left, right in SUMS:
        if only_in in ("", component.name) and {*left, *right} <= summands.keys():
            terms = [*(summands[n] for n in left), *(-summands[n] for n in right)]
            rounding = SUM_ROUNDINGS * UNIT_ROUNDOFF * sum(float(np.abs(t).sum()) for t in terms)
            allowance = sum(allowances[n] for n in (*left, *right))
            yield formula, bool(abs(sum(float(t.sum()) for t in terms)) <= allowance + rounding)


def _independent_inputs(component: Component) -> list[str]:
    """Return the inputs that can be perturbed independently: all except an h that is computed from X."""
    return [name for name in component.inputs if name != "h" or "X" not in component.inputs]


def _is_complete(result: PairResult) -> bool:
    """Return whether every input that can be perturbed independently has a finite gradient."""
    names = _independent_inputs(result.pair_output.component)
    return all(n in result.gradients and np.isfinite(result.gradients[n].analytic).all() for n in names)


def _taylor_order(result: PairResult) -> float | None:
    """Fit the order p of |L(x + t v) - L(x) - t <g, v>| ~ t^p for a random direction v.

    L is the loss, x all independent inputs together, and g their returned gradients. The ReLU mask is computed once, at
    x, so that no output crosses the kink.
    """
    problem, component = result.measurement.problem, result.pair_output.component
    correct = PassValues.from_problem(problem, component)
    rng = np.random.default_rng([problem.seed or 0, 2])
    base = {name: correct[name] for name in _independent_inputs(component)}
    direction = {n: rng.standard_normal(value.shape) * (np.abs(value).max() or 1.0) for n, value in base.items()}
    slope = sum(float((result.gradients[n].analytic * v).sum()) for n, v in direction.items())
    fixed = {name: correct[name] for name in ("eps", "N", "H", *(("active",) if component.output == "a" else ()))}

    def summands(t: float) -> FloatArray:
        perturbed = PassValues({**fixed, **{name: value + t * direction[name] for name, value in base.items()}})
        return np.asarray(correct.dout * getattr(perturbed, component.output))

    unperturbed = summands(0.0)
    rounding = SUM_ROUNDINGS * UNIT_ROUNDOFF * float(np.abs(unperturbed).sum())
    remainders = [(t, abs(float((summands(t) - unperturbed).sum()) - t * slope)) for t in TAYLOR_STEPS]
    measurable = np.array([(t, remainder) for t, remainder in remainders if remainder > rounding])
    if len(measurable) < MIN_TAYLOR_POINTS:
        return None
    log_t, log_remainder = np.log(measurable.T)
    return round(float(np.polyfit(log_t, log_remainder, 1)[0]), 2)
