"""The code under test: bncheck calls its functions on copies of the arrays, and notes their side effects."""

import inspect
import linecache
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bncheck.errors import NotImplementedYet, TargetError
from bncheck.model.components import Forward
from bncheck.model.layers import Array
from bncheck.model.problem import Problem
from bncheck.model.results import NotChecked, Note, PairOutput, Source, TargetInfo
from bncheck.model.version import PACKAGE_DIR
from bncheck.targets.arrays import copy_with_strides, read_array
from bncheck.targets.exceptions import format_exception
from bncheck.targets.pairs import Pair, Usage, argument_names

# Lines of decorators above a def that are searched for the def.
MAX_DECORATOR_LINES, DEF = 20, re.compile(r"\s*(async\s+)?def\s")


class Target(ABC):
    """The code under test: a namespace with functions that bncheck calls.

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
    call_started : callable
        Called with a description of what runs, such as the name of a function, when it starts, and with "" when it
        has ended.
    interrupted : callable
        Returns whether Ctrl-C was pressed: otherwise a KeyboardInterrupt was raised by the code under test.
    """

    pairs: tuple[Pair, ...]
    missing_functions: tuple[str, ...] = ()
    not_checked: tuple[NotChecked, ...] = ()

    def __init__(self, namespace: Any, info: TargetInfo) -> None:
        self.info = info
        self.call_started: Callable[[str], None] = lambda _: None
        self.interrupted: Callable[[], bool] = lambda: True
        self._namespace = namespace
        self.notes: dict[Note, None] = {}  # about all calls so far, in order
        # Function, position, original and copy of each array that the last call left unchanged.
        self._previous_arguments: list[tuple[Callable[..., Any], int, Array, Array]] = []

    @abstractmethod
    def labels(self, pair: Pair) -> dict[str, str]:
        """Return the names of the gradients that a pair returns, by input name and in the order of a tuple."""

    @abstractmethod
    def more_arguments(self, pair: Pair, problem: Problem) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of a forward function after its arrays: positional and by keyword."""

    def takes_features_first(self, pair: Pair) -> bool:  # noqa: ARG002 - a subclass looks at the pair
        """Return whether a pair is correct for arrays of shape (features, batch)."""
        return False

    def run(self, pair: Pair, problem: Problem, usage: Usage = Usage.FIRST) -> PairOutput:
        """Run a pair on copies of the arrays of a problem.

        If the backward function is missing or not implemented yet, the output has no gradients.

        Raises
        ------
        NotImplementedYet
            The forward function is not implemented yet.
        TargetError
            A function raised, or returned something else than its interface requires.
        """
        labels, shape = self.labels(pair), problem.dout.shape
        out, cache = self._forward(pair, pair.component.arrays(problem, argument_names(pair.component)), problem)
        # The function may reuse the buffer of its output in the next call.
        output, dtype = self._as_array("a" if pair.is_network else f"out of {pair.forward}", out, shape)
        returned: dict[str, Any] = {}
        not_implemented: dict[str, str] = {}
        if pair.has_backward:
            try:
                returned = self._gradients(pair, cache, problem, usage)
            except NotImplementedYet as error:
                not_implemented[pair.backward_name] = str(error).partition(" ")[2]
        suffix = "" if pair.is_network else f" of {pair.backward}"
        gradients, dtypes = {}, [dtype]
        for name, value in returned.items():
            if value is None:
                not_implemented[f"{pair.backward_name}.{labels[name]}"] = "is None: not implemented yet"
                continue
            expected = getattr(problem, name, problem.dout).shape  # h and y have the shape of dout
            gradients[name], dtype = self._as_array(f"{labels[name]}{suffix}", value, expected)
            dtypes.append(dtype)
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
            forward_source=source_of(getattr(self._namespace, pair.forward_name)),
            backward_source=source_of(getattr(self._namespace, pair.backward_name)) if pair.has_backward else None,
        )

    def output_function(self, pair: Pair, problem: Problem) -> Forward:
        """Return the forward function of a pair as a function of its arrays alone, to be differentiated.

        It raises TargetError if it does not return real numbers of the shape of the output.
        """
        shape = problem.dout.shape

        def output(arrays: Mapping[str, Array]) -> npt.NDArray[Any]:
            array, _ = self._as_array(pair.forward_name, self._forward(pair, arrays, problem)[0], shape)
            if array.shape != shape or array.dtype.kind not in "fiu":
                text = f"{pair.forward_name} returned {array.dtype} of shape {array.shape}"
                raise TargetError(f"{text}, expected numbers of shape {shape}")
            return array.astype(np.float64)

        return output

    def _forward(self, pair: Pair, arrays: Mapping[str, Array], problem: Problem) -> tuple[Any, Any]:
        """Return the output and the cache of a forward function."""
        name = pair.forward_name
        more, named = self.more_arguments(pair, problem)
        self._previous_arguments = []
        returned = self._call(name, *(arrays[i] for i in argument_names(pair.component)), *more, **named)
        if returned is not None and (not isinstance(returned, tuple | list) or len(returned) != 2):
            raise TargetError(f"{name} returned {_describe_value(returned)}; expected a tuple (out, cache)")
        if returned is None or returned[0] is None:
            raise NotImplementedYet(f"{name} returns None: not implemented yet")
        return returned[0], returned[1]

    def _backward(self, pair: Pair, dout: Array, cache: Any) -> dict[str, Any]:
        """Return the gradients of a backward function by input name; None: not implemented yet.

        It returns a tuple or list in order, a mapping, or a single array. The keys of a mapping are the labels, or d
        and the input name. A network may leave out dh.
        """
        name, labels = pair.backward_name, self.labels(pair)
        required = {i: labels[i] for i in argument_names(pair.component)}
        expected = ", ".join(required.values())
        returned = self._call(name, dout, cache)
        if isinstance(returned, Mapping):
            by_key = {str(key).lower(): value for key, value in returned.items()}
            keys = {i: [k for k in (label.lower(), f"d{i}".lower()) if k in by_key] for i, label in labels.items()}
            missing = [label for i, label in required.items() if not keys[i]]
            if missing:
                raise TargetError(f"{name} did not return {', '.join(missing)}; expected {expected}")
            values = {i: by_key[matches[0]] for i, matches in keys.items() if matches}
        elif returned is None or (len(required) == 1 and not isinstance(returned, tuple | list)):
            values = dict.fromkeys(required, returned)
        elif isinstance(returned, tuple | list) and len(returned) in {len(required), len(labels)}:
            values = dict(zip(labels, returned, strict=False))
        else:
            raise TargetError(f"{name} returned {_describe_value(returned)}; expected {expected}")
        if all(value is None for value in values.values()):
            raise NotImplementedYet(f"{name} returns None: not implemented yet")
        return values

    def _gradients(self, pair: Pair, cache: Any, problem: Problem, usage: Usage) -> dict[str, Any]:
        """Call the backward function in the given usage."""
        dout = usage.arrange(problem.dout)
        if usage is Usage.INTERLEAVED:
            if cache is None and pair.is_network:  # an object that is a single network may store its state
                raise TargetError(f"{pair.backward_name} receives None as its cache: the object stores its state")
            names = argument_names(pair.component)
            self._forward(pair, pair.component.arrays(_other_data(problem), names), problem)
            self._previous_arguments = []  # the backward call belongs to the earlier forward call
        returned = self._backward(pair, dout, cache)
        return self._backward(pair, dout, cache) if usage is Usage.BACKWARD_TWICE else returned

    def _call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Call a function with copies of the arrays, which it may modify.

        Raises
        ------
        TargetError
            It raised, or called sys.exit; the message contains the stack frames of the code under test.
        """
        function = getattr(self._namespace, name)
        copies = [copy_with_strides(a) if isinstance(a, np.ndarray) else a for a in arguments]
        self.call_started(name)
        try:
            returned = function(*copies, **named)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and self.interrupted():
                raise
            if isinstance(error, NotImplementedError):
                raise NotImplementedYet(f"{name} raises NotImplementedError: not implemented yet") from error
            raise TargetError(format_exception(name, error)) from error
        finally:
            self.call_started("")
        self._note_side_effects(name, function, arguments, copies)
        return returned

    def _note_side_effects(
        self, name: str, function: Callable[..., Any], arguments: tuple[Any, ...], copies: list[Any]
    ) -> None:
        """Note which arrays a call modified: its own arguments, and those of the call before it."""
        unchanged = []
        for position, (original, copy) in enumerate(zip(arguments, copies, strict=True)):
            if not isinstance(original, np.ndarray):
                continue
            if _are_equal(original, copy):
                unchanged.append((function, position, original, copy))
            else:
                argument = _argument_name(function, position)
                text = f"{name} modifies its argument {argument} in place (bncheck passed a copy)"
                self.notes[Note("mutates-input", text)] = None
        for previous_function, position, original, copy in self._previous_arguments:
            if not _are_equal(original, copy):
                argument = _argument_name(previous_function, position)
                text = f"{name} modifies the {argument} that was passed to its forward function (a parameter update?)"
                self.notes[Note("parameter-update", text)] = None
        self._previous_arguments = unchanged

    def _as_array(self, name: str, value: Any, shape: tuple[int, ...]) -> tuple[npt.NDArray[Any], str]:
        """Return a value as an array, and the name of its dtype; a row or a column is reshaped to a vector.

        Raises
        ------
        TargetError
            It is a tensor or an array that NumPy cannot read.
        """
        self.call_started(name)  # reading a lazy tensor runs code
        try:
            array, dtype = read_array(name, value)
        finally:
            self.call_started("")
        if array.shape != shape and len(shape) == 1 and array.shape in ((1, *shape), (*shape, 1)):
            self.notes[Note("shape", f"{name} has shape {array.shape}; interpreted as {shape}")] = None
            array = array.reshape(shape)
        return array, dtype


def _other_data(problem: Problem) -> Problem:
    """Return a problem of the same shapes with different values everywhere."""
    p = problem
    return replace(p, X=1 - 2 * p.X[::-1], W=1.5 * p.W, b=-p.b, gamma=-1.5 * p.gamma, beta=p.beta + 1)


def _are_equal(one: Array, other: Array) -> bool:
    """Return whether two arrays have equal values; the slower comparison of NaN is only made if they seem to differ."""
    return np.array_equal(one, other) or np.array_equal(one, other, equal_nan=True)


def source_of(function: Any) -> Source | None:
    """Return the file and line of a function's def; None if they are unknown, or the function is bncheck's own."""
    try:
        function = inspect.unwrap(function.func if isinstance(function, partial) else function)
        code = getattr(function, "__code__", None) or type(function).__call__.__code__
        if code.co_filename.startswith(("<", f"{PACKAGE_DIR}{os.sep}")):
            return None
        # The code of a decorated function starts at its first decorator.
        lines = range(code.co_firstlineno, code.co_firstlineno + MAX_DECORATOR_LINES)
        defs = (n for n in lines if DEF.match(linecache.getline(code.co_filename, n)))
        return Source(os.path.abspath(code.co_filename), next(defs, code.co_firstlineno))
    except Exception:  # noqa: BLE001 - compiled functions and objects with their own __getattr__ may raise anything
        return None


def _argument_name(function: Callable[..., Any], position: int) -> str:
    """Return the name of an argument, by its position from 0."""
    try:
        return list(inspect.signature(function).parameters)[position]
    except (TypeError, ValueError, IndexError):
        return f"number {position + 1}"


def _describe_value(value: Any) -> str:
    """Return a short description of a returned value: a tuple of 3, None, an array."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return "an array"
    return "None" if value is None else f"a {type(value).__name__}"
