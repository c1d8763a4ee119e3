"""Targets in the style of a course: a forward and a backward function for each layer."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType
from typing import Any

import numpy as np

from bncheck.errors import InvalidInput, TargetError
from bncheck.model.components import AFFINE, BATCHNORM, NETWORK, RELU, Component
from bncheck.model.layers import Array, affine_forward, batchnorm_backward, batchnorm_forward
from bncheck.model.problem import Problem, random_problem
from bncheck.model.results import NotChecked, TargetInfo
from bncheck.targets.calling import FunctionCaller, Functions, Pair

_BN = r"(?:batch_?norm(?:alization)?(?:_?1d)?|bn)"
_AFFINE = r"(?:affine|linear|fc|dense)"
# What the functions of each piece may be called, and their arguments in order; the network's
# composites last, for they follow from the layers.
STEMS = {AFFINE: _AFFINE, BATCHNORM: _BN, RELU: "relu", NETWORK: f"{_AFFINE}_?{_BN}_?relu"}
ARGUMENTS = {
    AFFINE: ("X", "W", "b"),
    BATCHNORM: ("h", "gamma", "beta"),
    RELU: ("y",),
    NETWORK: ("X", "W", "b", "gamma", "beta"),
}
FORWARD, BACKWARD = "forward|fwd|fprop", "backward|bwd|bprop|backprop"
# What the input of a layer is called there, whatever it is in the network.
LABELS = {"X": "dx", "h": "dx", "y": "dx", "W": "dw"}

# Any function that is called like one half of a layer.
LAYER_FUNCTION = re.compile(rf"([A-Za-z]\w*?)_?({FORWARD}|{BACKWARD})(?:_pass)?(\d*|_\w+)", re.IGNORECASE)
# Why a layer of a known name is not checked.
OTHER_LAYERS = (
    (re.compile(rf"{_AFFINE}_?.*relu|.*{_BN}_?relu|{_AFFINE}_?(?:{_BN}|norm).*", re.IGNORECASE),
     "a composite of layers"),
    (re.compile(r"(?:spatial|layer|group|instance|rms).*norm.*|ln|gn", re.IGNORECASE), "another normalization"),
    (re.compile(r"(?:conv|max_?pool|avg_?pool|dropout|rnn|lstm|embedding|softmax|attention).*", re.IGNORECASE),
     "a layer that bncheck does not know"),
)  # fmt: skip
# How far code in another layout may be off, and the eps that it may have: a smaller one changes the fifth digit.
LAYOUT_RTOL, LAYOUT_EPS = 1e-3, (1e-5, 1e-3, 1e-2, 0.1)
# What the code of a batch norm contains where it has an evaluation mode, and where it keeps statistics for it.
MODE_WORDS = {"test", "eval", "inference", "train", "training", "is_training", "train_flg", "mode"}
STATISTICS_WORDS = {"running_mean", "running_var", "moving_mean", "moving_var", "running_average"}


def functions_of(namespace: Any, piece: Component, direction: str) -> dict[tuple[str, str], str]:
    """Return the names of a piece's functions by stem and suffix: ("batchnorm", ""), ("bn", "_alt"), ...

    One with a suffix that cannot be called as such a function is something else, such as a test.
    """
    pattern = re.compile(rf"({STEMS[piece]})_?(?:{direction})(?:_pass)?(\d*|_\w+)", re.IGNORECASE)
    arguments = [None] * (2 if direction == BACKWARD else len(ARGUMENTS[piece]))
    found = {}
    for name in map(str, dir(namespace)):
        match = pattern.fullmatch(name)
        function = getattr(namespace, name, None) if match else None
        if match and callable(function) and (not match[2] or _accepts(function, arguments)):
            found[match[1].lower(), match[2]] = name
    return found


def other_functions(namespace: Any) -> Iterator[NotChecked]:
    """Yield the functions that are called like one half of a layer, of a layer that is not checked."""
    for name in map(str, dir(namespace)):
        match = LAYER_FUNCTION.fullmatch(name)
        if match and piece_of(name) is None and inspect.isroutine(getattr(namespace, name, None)):
            reason = next((text for stem, text in OTHER_LAYERS if stem.fullmatch(match[1])), "")
            yield NotChecked(name, reason or "bncheck does not know this layer")


def piece_of(name: str) -> Component | None:
    """Return the piece that a function of this name is one half of; None for any other name."""
    patterns = {piece: rf"(?:{stem})_?(?:{FORWARD}|{BACKWARD})(?:_pass)?(?:\d*|_\w+)" for piece, stem in STEMS.items()}
    return next((piece for piece, p in patterns.items() if re.fullmatch(p, name, re.IGNORECASE)), None)


def _accepts(function: Callable[..., Any], arguments: list[None]) -> bool:
    try:
        inspect.signature(function).bind_partial(*arguments)
    except TypeError:
        return False
    except ValueError:  # it does not tell
        return True
    return True


class LayerFunctions(FunctionCaller):
    """A namespace of functions such as ``batchnorm_forward`` and ``batchnorm_backward``.

    ``named`` is the one function that is asked for: then its pair alone is checked.
    """

    def __init__(self, namespace: Any, name: str, named: str = "") -> None:
        super().__init__()
        self._namespace = namespace
        self._named = named
        self.info = TargetInfo(name, "course")
        pairs = [pair for piece in STEMS for pair in self._match_pairs(piece)]
        if named:  # what is asked for by name is required
            pairs = [pair._replace(optional=False) for pair in pairs if named in (pair.forward, pair.backward)]
        self.pairs = tuple(pairs)
        if named and not self.pairs:
            raise InvalidInput(f"{name} has no forward function next to it, which bncheck needs to check it")
        self.required = () if named else self._required()
        self.not_checked = () if named else tuple(self._not_checked())

    @classmethod
    def is_supported(cls, namespace: Any, pieces: Iterable[Component] = tuple(STEMS)) -> bool:
        """Tell whether there is any function of this kind, of these pieces, that can be checked."""
        return any(functions_of(namespace, piece, direction) for piece in pieces for direction in (FORWARD, BACKWARD))

    def _match_pairs(self, piece: Component) -> Iterator[Pair]:
        """Yield each backward function with its forward: of its own stem and suffix, or the nearest.

        A forward function without any backward function is a pair without one.
        """
        forwards = functions_of(self._namespace, piece, FORWARD)
        backwards = functions_of(self._namespace, piece, BACKWARD)
        used = set()
        for (stem, suffix), backward in sorted(backwards.items(), key=lambda item: item[0][1]):
            near = [(stem, suffix), (stem, ""), *((other, s) for s in (suffix, "") for other, _ in forwards)]
            forward = next((forwards[key] for key in near if key in forwards), None)
            if forward:
                used.add(forward)
                yield Pair(piece, forward, backward, optional=piece is not BATCHNORM or bool(suffix))
        for forward in forwards.values():
            if forward not in used and _accepts(getattr(self._namespace, forward), [None] * len(ARGUMENTS[piece])):
                yield Pair(piece, forward, None, optional=piece is not BATCHNORM)

    def _required(self) -> tuple[str, ...]:
        """Return the functions without which a file is not complete: batch norm's own pair."""
        own = [pair for pair in self.pairs if pair.piece is BATCHNORM]
        if any(pair.backward for pair in own):
            return ()
        forward = own[0].forward if own else None
        backwards = functions_of(self._namespace, BATCHNORM, BACKWARD)
        missing = [] if forward else ["batchnorm_forward"]
        if not backwards:
            missing.append(re.sub(r"(?i)forward", "backward", forward) if forward else "batchnorm_backward")
        return tuple(missing)

    def _not_checked(self) -> Iterator[NotChecked]:
        """Yield other layers, functions without the other half of their pair, and other modes."""
        yield from other_functions(self._namespace)
        checked = {pair.backward for pair in self.pairs}
        for piece in STEMS:
            for name in functions_of(self._namespace, piece, BACKWARD).values():
                if name not in checked:
                    yield NotChecked(name, "it has no forward function next to it")
        for name in self.required:
            yield NotChecked(name, "missing")
        for forward in dict.fromkeys(pair.forward for pair in self.pairs if pair.piece is BATCHNORM):
            words = _words_of(getattr(self._namespace, str(forward)))
            modes = [*(["evaluation mode"] if words & MODE_WORDS else [])]
            modes += [*(["running statistics"] if words & STATISTICS_WORDS else [])]
            if modes:
                yield NotChecked(str(forward), f"{' and '.join(modes)}: only training mode is checked")

    def label(self, name: str) -> str:
        """Return what a function calls the gradient for an input: "dx"."""
        return LABELS.get(name, f"d{name}")

    def takes_features_first(self, pair: Pair) -> bool:
        """Tell whether a batch norm's output and dx are right on arrays of shape (features, batch).

        Its dgamma and dbeta must then have an entry for each feature: code that takes its statistics over the wrong
        axis by mistake has one for each sample.
        """
        if pair.piece is not BATCHNORM or pair.backward is None:
            return False
        p = random_problem(12, 4, 5)
        h = affine_forward(p.X, p.W, p.b)[0]
        functions = self.functions(pair)
        assert functions.backward is not None
        for columns in (True, False):
            vectors = {name: getattr(p, name)[:, None] if columns else getattr(p, name) for name in ("gamma", "beta")}
            try:
                out, theirs = functions.forward({"h": h.T.copy(), **vectors}, p)
                values = self.backward(
                    pair.backward, functions.backward, functions.labels, p.dout.T.copy(), theirs
                ).values
                returned = [out, *map(values.get, ARGUMENTS[BATCHNORM])]
                found = [self.as_array(pair.backward, value, h.T.shape)[0] for value in returned]
            except TargetError:
                continue
            if any(_is_transposed(found, p, h, eps) for eps in LAYOUT_EPS):
                return True
        return False

    def functions(self, pair: Pair) -> Functions:
        """Return the functions of a pair as they are called."""
        inputs = ARGUMENTS[pair.piece]
        function = getattr(self._namespace, pair.forward or "forward")

        def forward(arrays: Mapping[str, Array], problem: Problem) -> tuple[Any, Any]:
            given = [arrays[name] for name in inputs]
            if "gamma" not in inputs:
                return self.forward(str(pair.forward), function, *given)
            more, named = _batchnorm_arguments(function, len(inputs), problem)
            return self.forward(str(pair.forward), function, *given, *more, **named)

        backward = None if pair.backward is None else getattr(self._namespace, pair.backward)
        return Functions(pair, {name: self.label(name) for name in inputs}, function, forward, backward)


def _is_transposed(found: list[Array], p: Problem, h: Array, eps: float) -> bool:
    """Tell whether an output and gradients are those of batch norm on transposed arrays."""
    y, cache = batchnorm_forward(h, p.gamma, p.beta, eps)
    dh, dgamma, dbeta = batchnorm_backward(p.dout, cache)
    if [array.size for array in found] != [array.size for array in (y, dh, dgamma, dbeta)]:
        return False
    pairs = zip(found, (y.T, dh.T), strict=False)
    return all(a.shape == b.shape and np.allclose(a, b, rtol=LAYOUT_RTOL, atol=LAYOUT_RTOL) for a, b in pairs)


def _words_of(function: Any) -> set[str]:
    """Return the names and strings that the code of a function contains, in lower case."""
    code = getattr(inspect.unwrap(function) if callable(function) else function, "__code__", None)
    words: set[str] = set()
    waiting = [code] if isinstance(code, CodeType) else []
    while waiting:
        one = waiting.pop()
        words |= {*one.co_varnames, *one.co_names}
        words |= {constant for constant in one.co_consts if isinstance(constant, str) and constant.isidentifier()}
        waiting += [constant for constant in one.co_consts if isinstance(constant, CodeType)]
    return {word.lower() for word in words}


def _batchnorm_arguments(
    function: Callable[..., Any], given: int, problem: Problem
) -> tuple[list[Any], dict[str, Any]]:
    """Return what a batch norm takes after gamma and beta, by position and by name, as its names tell.

    Course code takes a dict ("bn_param"); other code takes eps, a mode, momentum, running
    statistics, each by itself.
    """
    H, eps = problem.H, problem.bn_eps
    known: dict[str, Any] = {"mode": "train", "momentum": 0.9, "train": True, "training": True, "is_training": True}
    known |= {f"{kind}_{what}": value for kind in ("running", "moving") for what, value in _statistics(H)}
    everything = {**known, "eps": eps, "epsilon": eps, "bn_eps": eps}
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return [dict(everything)], {}
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for number, parameter in enumerate(parameters):
        name = parameter.name.lower()
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional.append(dict(everything))
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            named |= {} if positional else {"eps": eps}  # a wrapper's *args, **named: the dict is enough
            continue
        if number < given and parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        if "eps" in name:
            value: Any = eps
        elif name in known or "train" in name:
            value = known.get(name, True)
        elif parameter.default is parameter.empty or "param" in name:
            value = dict(everything)
        else:
            value = parameter.default
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = value
        else:
            positional.append(value)
    return positional, named


def _statistics(H: int) -> list[tuple[str, Array]]:
    return [("mean", np.zeros(H)), ("var", np.ones(H))]
