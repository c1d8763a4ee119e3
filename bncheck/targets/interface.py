"""The interface of a target: the forward/backward pairs that its functions form, and how each is called."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from bncheck.errors import NotImplementedYet, TargetError
from bncheck.model.components import NETWORK
from bncheck.model.layers import Array
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.results import NotChecked, Note, PairOutput, TargetInfo
from bncheck.numerical.full import IndexArray, PerturbedForward
from bncheck.targets.pairs import Pair, argument_names
from bncheck.targets.target import Argument, Call, Function, PairCall, PairReturn, Returned, Target, Value
from bncheck.targets.usage import Usage


class Interface(ABC):
    """A target whose functions are recognized.

    Attributes
    ----------
    info : TargetInfo
        Its name and its interface.
    pairs : tuple of Pair
        The forward/backward pairs to check.
    missing_functions : tuple of str
        Functions that a complete target has and this one does not have.
    not_checked : tuple of NotChecked
        Functions and modes that bncheck does not check.
    notes : dict of Note to None
        Notes about all calls so far, in order.
    """

    pairs: tuple[Pair, ...]
    missing_functions: tuple[str, ...] = ()
    not_checked: tuple[NotChecked, ...] = ()

    def __init__(self, target: Target, functions: Mapping[str, Function], info: TargetInfo) -> None:
        self.info, self.target, self._functions = info, target, functions
        self.notes: dict[Note, None] = {}

    @abstractmethod
    def labels(self, pair: Pair) -> dict[str, str]:
        """Return the names of the gradients that a pair returns, by input name and in the order of a tuple."""

    @abstractmethod
    def more_arguments(self, pair: Pair, problem: Problem) -> tuple[list[Argument], dict[str, Argument]]:
        """Return the arguments of a forward function after its arrays: positional and by keyword."""

    def takes_features_first(self, pair: Pair) -> bool:  # noqa: ARG002 - a subclass looks at the pair
        """Return whether a pair is correct for arrays of shape (features, batch)."""
        return False

    def run(self, pair: Pair, problem: Problem, usage: Usage = Usage.FIRST) -> PairOutput:
        """Run a pair on the arrays of a problem.

        If the backward function is missing or not implemented yet, the output has no gradients.

        Raises
        ------
        NotImplementedYet
            The forward function is not implemented yet.
        TargetError
            A function raised, or returned something else than its interface requires.
        """
        call, labels = self._pair_call(pair, problem, usage), self.labels(pair)
        returned = self._run(call)
        output = self._as_array(
            "a" if pair.is_network else f"out of {pair.forward}", returned.output, problem.dout.shape
        )
        not_implemented = {pair.backward_name: returned.not_implemented} if returned.not_implemented else {}
        values: Mapping[str, Value | None] = {}
        if returned.backward is not None:
            try:
                values = self._match_gradients(pair, returned.backward)
            except NotImplementedYet as error:
                not_implemented[pair.backward_name] = str(error).partition(" ")[2]
        suffix = "" if pair.is_network else f" of {pair.backward}"
        gradients, dtypes = {}, [returned.output.dtype]
        for name, value in values.items():
            if value is None:
                not_implemented[f"{pair.backward_name}.{labels[name]}"] = "is None: not implemented yet"
                continue
            expected = getattr(problem, name, problem.dout).shape  # h and y have the shape of dout
            gradients[name] = self._as_array(f"{labels[name]}{suffix}", value, expected)
            dtypes.append(value.dtype)
        forward, backward = self._functions.get(pair.forward_name), self._functions.get(pair.backward_name)
        return PairOutput(
            component=pair.component,
            forward_name=pair.forward,
            backward_name=pair.backward,
            output=output,
            gradients=gradients,
            labels=labels,
            dtypes=tuple(dtypes),
            not_implemented=not_implemented,
            usage=usage.value,
            forward_source=forward and forward.source,
            backward_source=backward and backward.source if pair.has_backward else None,
        )

    def perturbed_forward(self, pair: Pair, problem: Problem) -> PerturbedForward:
        """Return the forward function of a pair, to be differentiated."""
        names = argument_names(pair.component)
        call = self._forward_call(pair, pair.component.arrays(problem, names), problem)

        def forward(name: str, indices: IndexArray, values: FloatArray) -> Iterator[FloatArray]:
            return self.target.run_forward(call, problem.dout.shape, names.index(name), indices, values)

        return forward

    def _run(self, call: PairCall) -> PairReturn:
        """Run a pair, and add a note for each side effect."""
        try:
            return self.target.run_pair(call)
        finally:
            self._note_modifications()

    def _note_modifications(self) -> None:
        for name, owner, position, was_earlier in self.target.modifications:
            function = self._functions.get(owner)
            argument = function.parameter_name(position) if function else f"number {position + 1}"
            if was_earlier:
                text = f"{name} modifies the {argument} that was passed to its forward function (a parameter update?)"
                self.notes[Note("parameter-update", text)] = None
            else:
                text = f"{name} modifies its argument {argument} in place (bncheck passed a copy)"
                self.notes[Note("mutates-input", text)] = None
        self.target.modifications.clear()

    def _pair_call(self, pair: Pair, problem: Problem, usage: Usage) -> PairCall:
        """Return the call of a pair on the arrays of a problem."""
        names = argument_names(pair.component)
        forward = self._forward_call(pair, pair.component.arrays(problem, names), problem)
        other = None
        if usage is Usage.INTERLEAVED:
            other = self._forward_call(pair, pair.component.arrays(_other_data(problem), names), problem)
        backward = pair.backward_name if pair.has_backward else None
        return PairCall(forward, backward, problem.dout, usage, other, may_store_state=not pair.is_network)

    def _forward_call(self, pair: Pair, arrays: Mapping[str, Array], problem: Problem) -> Call:
        more, named = self.more_arguments(pair, problem)
        return Call(pair.forward_name, (*(arrays[i] for i in argument_names(pair.component)), *more), named)

    def _match_gradients(self, pair: Pair, returned: Returned) -> dict[str, Value | None]:
        """Return the gradients of a backward function by input name; None: not implemented yet.

        It returns a tuple or list in order, a mapping, or a single array. The keys of a mapping are the labels, or d
        and the input name. A network may leave out dh.
        """
        name, labels = pair.backward_name, self.labels(pair)
        required = {i: labels[i] for i in argument_names(pair.component)}
        expected = ", ".join(required.values())
        if returned.keys is not None:
            by_key = dict(zip(map(str.lower, returned.keys), returned.values, strict=True))
            keys = {i: [k for k in (label.lower(), f"d{i}".lower()) if k in by_key] for i, label in labels.items()}
            missing = [label for i, label in required.items() if not keys[i]]
            if missing:
                raise TargetError(f"{name} did not return {', '.join(missing)}; expected {expected}")
            values = {i: by_key[matches[0]] for i, matches in keys.items() if matches}
        elif len(required) == 1 and not returned.is_sequence:
            values = dict.fromkeys(required, returned.values[0])
        elif returned.is_sequence and len(returned.values) in {len(required), len(labels)}:
            values = dict(zip(labels, returned.values, strict=False))
        else:
            raise TargetError(f"{name} returned {returned.description}; expected {expected}")
        if all(value is None for value in values.values()):
            raise NotImplementedYet(f"{name} returns None: not implemented yet")
        return values

    def _as_array(self, name: str, value: Value, shape: tuple[int, ...]) -> Array:
        """Return the array of a value; a row or a column is reshaped to a vector.

        Raises
        ------
        TargetError
            It is a tensor or an array that NumPy cannot read.
        """
        if value.error:
            raise TargetError(f"{name} {value.error}")
        array = value.array
        if array.shape != shape and len(shape) == 1 and array.shape in ((1, *shape), (*shape, 1)):
            self.notes[Note("shape", f"{name} has shape {array.shape}; interpreted as {shape}")] = None
            return array.reshape(shape)
        return array


class NetworkFunctions(Interface):
    """A target with ``forward(X, W, b, gamma, beta, bn_eps)`` and ``backward(dout, cache)``."""

    pairs = (Pair(NETWORK, None, None, optional=False),)

    def __init__(
        self, target: Target, functions: Mapping[str, Function], name: str, not_checked: Iterable[NotChecked] = ()
    ) -> None:
        super().__init__(target, functions, TargetInfo(name, "network"))
        self.not_checked = tuple(not_checked)

    def labels(self, pair: Pair) -> dict[str, str]:
        """Return the names of the gradients: dX, dW, ..., dh."""
        return {name: f"d{name}" for name in pair.component.inputs}

    def more_arguments(self, _: Pair, problem: Problem) -> tuple[list[Argument], dict[str, Argument]]:
        """Return bn_eps, the sixth argument."""
        return [problem.bn_eps], {}


def _other_data(problem: Problem) -> Problem:
    """Return a problem of the same shapes with different values everywhere."""
    p = problem
    return replace(p, X=1 - 2 * p.X[::-1], W=1.5 * p.W, b=-p.b, gamma=-1.5 * p.gamma, beta=p.beta + 1)
