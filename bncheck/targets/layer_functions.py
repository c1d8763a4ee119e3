"""Targets with a forward and a backward function for each layer, as in cs231n."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bncheck.errors import InvalidInput, TargetError
from bncheck.model.components import AFFINE, BATCHNORM, NETWORK, RELU, Component
from bncheck.model.layers import Array, affine_forward, batchnorm_backward, batchnorm_forward
from bncheck.model.problem import Problem, random_problem
from bncheck.model.results import NotChecked, TargetInfo
from bncheck.targets.interface import Interface
from bncheck.targets.pairs import Pair, argument_names
from bncheck.targets.target import Argument, Default, Function, PairCall, ParameterKind, Target

_BN = r"(?:batch_?norm(?:alization)?(?:_?1d)?|bn)"
_AFFINE = r"(?:affine|linear|fc|dense)"
# Names of the functions of each component, without "_forward". NETWORK, the composite of the three layers, is last: if
# it raises because it calls a layer that is not implemented yet, that layer is already known.
STEMS = {AFFINE: _AFFINE, BATCHNORM: _BN, RELU: "relu", NETWORK: f"{_AFFINE}_?{_BN}_?relu"}
FORWARD, BACKWARD = "forward|fwd|fprop", "backward|bwd|bprop|backprop"
# Names of the gradients that differ from d and the input name.
LABELS = {"X": "dx", "h": "dx", "y": "dx", "W": "dw"}

# The name of any function that is one half of a layer.
LAYER_FUNCTION = re.compile(rf"([A-Za-z]\w*?)_?({FORWARD}|{BACKWARD})(?:_pass)?(\d*|_\w+)", re.IGNORECASE)
# Names of other layers, and why they are not checked.
OTHER_LAYERS = (
    (re.compile(rf"{_AFFINE}_?.*relu|.*{_BN}_?relu|{_AFFINE}_?(?:{_BN}|norm).*", re.IGNORECASE),
     "a composite of layers"),
    (re.compile(r"(?:spatial|layer|group|instance|rms).*norm.*|ln|gn", re.IGNORECASE), "another normalization"),
    (re.compile(r"(?:conv|max_?pool|avg_?pool|dropout|rnn|lstm|embedding|softmax|attention).*", re.IGNORECASE),
     "a layer that bncheck does not know"),
)  # fmt: skip
# Tolerance when code is tried in the layout (features, batch), and the constants that it may use for eps: instead of a
# smaller one 1e-5 serves, because the difference changes only the fifth digit of the output and of dx.
LAYOUT_RTOL, LAYOUT_EPS = 1e-3, (1e-5, 1e-3, 1e-2, 0.1)
# Names and strings in the code of a batch norm that has an evaluation mode, or that keeps running statistics.
MODE_WORDS = {"test", "eval", "inference", "train", "training", "is_training", "train_flg", "mode"}
STATISTICS_WORDS = {"running_mean", "running_var", "moving_mean", "moving_var", "running_average"}


def find_functions(
    functions: Mapping[str, Function], component: Component, direction: str
) -> dict[tuple[str, str], str]:
    """Return the names of the functions of a component by stem and suffix: ("batchnorm", ""), ("bn", "_alt"), ...

    ``direction`` is the pattern FORWARD or BACKWARD. A function with a suffix that does not accept the arguments of the
    component, such as a helper ``batchnorm_forward_check(tol)``, is left out.
    """
    pattern = re.compile(rf"({STEMS[component]})_?(?:{direction})(?:_pass)?(\d*|_\w+)", re.IGNORECASE)
    count = 2 if direction == BACKWARD else len(argument_names(component))
    matches = ((name, function, pattern.fullmatch(name)) for name, function in functions.items())
    return {(m[1].lower(), m[2]): name for name, function, m in matches if m and (not m[2] or function.accepts(count))}


def implemented_components(functions: Mapping[str, Function]) -> list[Component]:
    """Return the components of which there is a forward or a backward function."""
    return [c for c in STEMS if find_functions(functions, c, FORWARD) or find_functions(functions, c, BACKWARD)]


def unsupported_functions(functions: Mapping[str, Function]) -> Iterator[NotChecked]:
    """Yield the functions that are, by their names, one half of a layer that is not checked."""
    for name, function in functions.items():
        match = LAYER_FUNCTION.fullmatch(name)
        if match and component_of(name) is None and function.is_routine:
            reasons = (text for stem, text in OTHER_LAYERS if stem.fullmatch(match[1]))
            yield NotChecked(name, next(reasons, "bncheck does not know this layer"))


def component_of(name: str) -> Component | None:
    """Return the component that a function belongs to, by its name; None for any other name."""
    suffix = rf"_?(?:{FORWARD}|{BACKWARD})(?:_pass)?(?:\d*|_\w+)"
    return next((c for c, stem in STEMS.items() if re.fullmatch(f"(?:{stem}){suffix}", name, re.IGNORECASE)), None)


class LayerFunctions(Interface):
    """A target with functions such as ``batchnorm_forward`` and ``batchnorm_backward``.

    Parameters
    ----------
    target : Target
        The code under test.
    functions : mapping of str to Function
        Its functions.
    name : str
        The target, as named on the command line.
    function : str, optional
        The only function to check, together with the other half of its pair.
    """

    def __init__(self, target: Target, functions: Mapping[str, Function], name: str, function: str = "") -> None:
        super().__init__(target, functions, TargetInfo(name, "layer-functions"))
        pairs = [pair for component in STEMS for pair in self._match_pairs(component)]
        if function:
            pairs = [pair._replace(optional=False) for pair in pairs if function in (pair.forward, pair.backward)]
        self.pairs = tuple(pairs)
        if function and not self.pairs:
            raise InvalidInput(f"{name} has no matching forward function")
        self.missing_functions = () if function else self._find_missing()
        self.not_checked = () if function else tuple(self._not_checked())

    def labels(self, pair: Pair) -> dict[str, str]:
        """Return the names of the gradients: dx, dgamma, dbeta."""
        return {name: LABELS.get(name, f"d{name}") for name in argument_names(pair.component)}

    def more_arguments(self, pair: Pair, problem: Problem) -> tuple[list[Argument], dict[str, Argument]]:
        """Return the arguments of a batch norm or composite after beta, by their names; none for other layers.

        cs231n passes a dict, ``bn_param``; other code takes eps, a mode, momentum and running statistics one by one.
        """
        arguments = argument_names(pair.component)
        if "gamma" not in arguments:
            return [], {}
        H, eps = problem.H, problem.bn_eps
        extra: dict[str, Any] = {"mode": "train", "momentum": 0.9, "train": True, "training": True, "is_training": True}
        for kind in ("running", "moving"):
            extra |= {f"{kind}_mean": np.zeros(H), f"{kind}_var": np.ones(H)}
        bn_param = {**extra, "eps": eps, "epsilon": eps, "bn_eps": eps}
        parameters = self._functions[pair.forward_name].parameters
        if parameters is None:
            return [bn_param], {}
        positional: list[Argument] = []
        named: dict[str, Argument] = {}
        for number, parameter in enumerate(parameters):
            name = parameter.name.lower()
            if parameter.kind is ParameterKind.VAR_POSITIONAL:
                positional.append(bn_param)
            elif parameter.kind is ParameterKind.VAR_KEYWORD:
                named |= {} if positional else {"eps": eps}  # a wrapper's *args, **kwargs already has the dict
            elif number >= len(arguments) or parameter.kind is ParameterKind.KEYWORD_ONLY:
                if "eps" in name or "train" in name or name in extra:
                    value: Argument = eps if "eps" in name else extra.get(name, True)
                else:
                    value = Default.DEFAULT if parameter.has_default and "param" not in name else bn_param
                if parameter.kind is ParameterKind.KEYWORD_ONLY:
                    named[parameter.name] = value
                else:
                    positional.append(value)
        return positional, named

    def _match_pairs(self, component: Component) -> Iterator[Pair]:
        """Yield the pairs of a component, then its forward functions without a backward function.

        A backward function is paired with the forward function of its stem and suffix; else of its stem without suffix;
        else of any stem, with its suffix or without one. A forward function without a backward function is a Pair whose
        ``backward`` is None.
        """
        forwards = find_functions(self._functions, component, FORWARD)
        backwards = find_functions(self._functions, component, BACKWARD)
        matched = set()
        for (stem, suffix), backward in sorted(backwards.items(), key=lambda item: item[0][1]):
            keys = [(stem, suffix), (stem, ""), *((other, s) for s in (suffix, "") for other, _ in forwards)]
            forward = next((forwards[key] for key in keys if key in forwards), None)
            if forward:
                matched.add(forward)
                yield Pair(component, forward, backward, optional=component is not BATCHNORM or bool(suffix))
        for forward in forwards.values():
            count = len(argument_names(component))
            if forward not in matched and self._functions[forward].accepts(count):
                yield Pair(component, forward, None, optional=component is not BATCHNORM)

    def _find_missing(self) -> tuple[str, ...]:
        """Return the functions that a complete file needs and this one does not have: batch norm's own pair."""
        pairs = [pair for pair in self.pairs if pair.component is BATCHNORM]
        if any(pair.backward for pair in pairs):
            return ()
        forward = pairs[0].forward if pairs else None
        missing = [] if forward else ["batchnorm_forward"]
        if not find_functions(self._functions, BATCHNORM, BACKWARD):
            missing.append(re.sub(r"(?i)forward", "backward", forward) if forward else "batchnorm_backward")
        return tuple(missing)

    def _not_checked(self) -> Iterator[NotChecked]:
        """Yield other layers, functions without the other half of their pair, and other modes."""
        yield from unsupported_functions(self._functions)
        checked = {pair.backward for pair in self.pairs}
        for component in STEMS:
            for name in find_functions(self._functions, component, BACKWARD).values():
                if name not in checked:
                    yield NotChecked(name, "no matching forward function")
        for name in self.missing_functions:
            yield NotChecked(name, "missing", is_missing=True)
        for name in dict.fromkeys(pair.forward_name for pair in self.pairs if pair.component is BATCHNORM):
            words = self._functions[name].words
            modes = ["evaluation mode"] * bool(words & MODE_WORDS)
            modes += ["running statistics"] * bool(words & STATISTICS_WORDS)
            if modes:
                yield NotChecked(name, f"{' and '.join(modes)}: only training mode is checked")

    def takes_features_first(self, pair: Pair) -> bool:
        """Return whether the output and dx of a batch norm are correct for arrays of shape (features, batch).

        Of its dgamma and dbeta only the size is compared, which must be the number of features: code that computes its
        statistics over the wrong axis by mistake has an entry for each sample.
        """
        if pair.component is not BATCHNORM or pair.backward is None:
            return False
        p = random_problem(12, 4, 5)
        h = affine_forward(p.X, p.W, p.b)[0]
        for shape in ((-1, 1), (-1,)):
            arrays = {"h": h.T.copy(), "gamma": p.gamma.reshape(shape), "beta": p.beta.reshape(shape)}
            try:
                call = PairCall(self._forward_call(pair, arrays, p), pair.backward, p.dout.T.copy())
                returned = self._run(call)
                values = self._match_gradients(pair, returned.backward) if returned.backward else {}
            except TargetError:
                continue
            gradients = [value.array for name in BATCHNORM.inputs if (value := values.get(name)) is not None]
            if any(_is_transposed([returned.output.array, *gradients], p, h, eps) for eps in LAYOUT_EPS):
                return True
        return False


def _is_transposed(arrays: list[Array], p: Problem, h: Array, eps: float) -> bool:
    """Return whether out and dx are those of batch norm on transposed arrays, and dgamma and dbeta have their sizes."""
    y, cache = batchnorm_forward(h, p.gamma, p.beta, eps)
    dh, dgamma, dbeta = batchnorm_backward(p.dout, cache)
    if [array.size for array in arrays] != [array.size for array in (y, dh, dgamma, dbeta)]:
        return False
    pairs = zip(arrays[:2], (y.T, dh.T), strict=True)
    return all(a.shape == b.shape and np.allclose(a, b, rtol=LAYOUT_RTOL, atol=LAYOUT_RTOL) for a, b in pairs)
