"""Calling functions that are not ours: on copies, watching how they conduct themselves."""

import inspect
import linecache
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bncheck.errors import NotImplementedYet, TargetError
from bncheck.model.components import Component
from bncheck.model.layers import Array
from bncheck.model.problem import Problem
from bncheck.model.results import Note, PairOutput, Source
from bncheck.targets.arrays import read
from bncheck.targets.usage import Usage

PACKAGE_DIR = str(__file__).rsplit("targets", 1)[0]
# How many lines of decorators may stand above a function's def.
MOST_DECORATORS, DEF = 20, re.compile(r"\s*(async\s+)?def\s")


class Pair(NamedTuple):
    """A forward function and its backward function, by their names."""

    piece: Component
    forward: str | None  # None: a network's forward
    backward: str | None  # None: a network's backward, or a layer function that is missing
    optional: bool  # an error in it is a failure, and does not end the check


class Functions(NamedTuple):
    """The functions of a pair, as they are called."""

    pair: Pair
    labels: Mapping[str, str]  # what the target calls the gradient for each input
    function: Callable[..., Any]  # the forward function as it is written ...
    forward: Callable[[Mapping[str, Array], Problem], tuple[Any, Any]]  # ... and called on arrays by input name
    backward: Callable[..., Any] | None


class Gradients(NamedTuple):
    """What a backward function returned, by input name."""

    values: Mapping[str, Any]
    missing: tuple[str, ...]  # inputs whose gradient is None: not written yet


class FunctionCaller(ABC):
    """Calls a target's functions and collects what is worth a remark, each once.

    ``calling`` is told the name of each function when its call begins, and "" when it has ended;
    ``interrupted`` tells Ctrl-C from a KeyboardInterrupt that the code raises itself.
    """

    def __init__(self) -> None:
        self._remarks: dict[tuple[str, str], Note] = {}
        # What the last call was given, to see whether the next one changes it, and that function.
        self._previous_arguments: list[tuple[int, Array, Array]] = []
        self._previous_function: Callable[..., Any] = lambda: None
        self.calling: Callable[[str], None] = lambda _: None
        self.interrupted: Callable[[], bool] = lambda: True

    @property
    def notes(self) -> tuple[Note, ...]:
        """What was remarked so far."""
        return tuple(self._remarks.values())

    def remark(self, code: str, text: str) -> None:
        """Note something that is no verdict; the same code and text once."""
        self._remarks[code, text] = Note(code, text)

    def call(self, name: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call a function; arrays are handed over as copies that it may write into.

        Raises
        ------
        TargetError
            It raised, or ended the process; the message holds its own frames.
        """
        given = [_copy(a) if isinstance(a, np.ndarray) else a for a in arguments]
        self.calling(name)
        try:
            returned = function(*given, **named)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and self.interrupted():
                raise
            if isinstance(error, NotImplementedError):
                raise NotImplementedYet(f"{name} raises NotImplementedError: not written yet") from error
            raise TargetError(format_exception(name, error)) from error
        finally:
            self.calling("")
        given_now: list[tuple[int, Array, Array]] = []
        for number, (before, after) in enumerate(zip(arguments, given, strict=True)):
            if isinstance(before, np.ndarray):
                if _same(before, after):
                    given_now.append((number, before, after))
                else:
                    which = argument_name(function, number)
                    self.remark("mutates-input", f"{name} writes into its {which} (it was given a copy)")
        for number, before, after in self._previous_arguments:
            if not _same(before, after):
                which = argument_name(self._previous_function, number)
                text = f"{name} changes the {which} that its forward function was given (a parameter step?)"
                self.remark("parameter-update", text)
        self._previous_arguments, self._previous_function = given_now, function
        return returned

    def forward(self, name: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[Any, Any]:
        """Return the output and the cache of a forward function."""
        self._previous_arguments = []
        returned = self.call(name, function, *arguments, **named)
        if returned is None:
            raise NotImplementedYet(f"{name} returns None: not written yet")
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise TargetError(f"{name} returned {describe_value(returned)}; expected (out, cache)")
        if returned[0] is None:
            raise NotImplementedYet(f"{name} returns None: not written yet")
        return returned[0], returned[1]

    def backward(
        self, name: str, function: Callable[..., Any], labels: Mapping[str, str], *arguments: Any
    ) -> Gradients:
        """Return what a backward function gives, by input name; a gradient that is None is missing.

        ``labels`` says what it calls each gradient, in the order of a tuple; a network's dh, the
        last, may be left out. A mapping has the labels, or d and the input's name, as its keys.
        """
        returned = self.call(name, function, *arguments)
        required = {i: label for i, label in labels.items() if i != "h" or len(labels) <= 3}
        expected = ", ".join(required.values())
        if returned is None:
            raise NotImplementedYet(f"{name} returns None: not written yet")
        if isinstance(returned, Mapping):
            known = {str(key).lower(): value for key, value in returned.items()}
            keys = {i: [k for k in (label.lower(), f"d{i}".lower()) if k in known] for i, label in labels.items()}
            missing = [required[i] for i in required if not keys[i]]
            if missing:
                raise TargetError(f"{name} returned no {' and no '.join(missing)}; expected {expected}")
            values = {i: known[found[0]] for i, found in keys.items() if found}
        elif len(required) == 1 and not isinstance(returned, tuple | list):
            values = dict.fromkeys(required, returned)
        elif not isinstance(returned, tuple | list) or len(returned) not in {len(required), len(labels)}:
            raise TargetError(f"{name} returned {describe_value(returned)}; expected {expected}")
        else:
            values = dict(zip(labels, returned, strict=False))
        written = {i: value for i, value in values.items() if value is not None}
        if not written:
            raise NotImplementedYet(f"{name} returns None: not written yet")
        return Gradients(written, tuple(i for i in values if i not in written))

    @abstractmethod
    def functions(self, pair: Pair) -> Functions:
        """Return the functions of a pair as they are called."""

    def run(self, pair: Pair, problem: Problem, usage: Usage = Usage.ONCE) -> PairOutput:
        """Run a pair on copies of a problem's arrays, in one of the ways of ``Usage``.

        If the backward function is missing or not written yet, the answer has no gradients.

        Raises
        ------
        NotImplementedYet
            The forward function is not written yet.
        TargetError
            A function raised, or did not return what the interface says.
        """
        functions = self.functions(pair)
        labels = functions.labels
        piece, of_layer = pair.piece, pair.forward is not None
        names = [name for name in labels if name != "h" or len(labels) <= 3]
        out, cache = functions.forward(piece.arrays(problem, names), problem)
        # A buffer that the function uses again is read before it is called again.
        output, dtype = self.as_array(f"out of {pair.forward}" if of_layer else "a", out, problem.dout.shape)
        unwritten: dict[str, str] = {}
        values: Mapping[str, Any] = {}
        backward_name = pair.backward or "backward"
        if functions.backward is not None:
            try:
                values, missing = self._gradients(functions, cache, problem, names, usage)
                unwritten = {f"{backward_name}.{labels[name]}": "is None: not written yet" for name in missing}
            except NotImplementedYet as error:
                unwritten = {backward_name: str(error).partition(" ")[2]}
        expected = shapes(piece, problem)
        whose = f" of {pair.backward}" if of_layer else ""
        settled = {name: self.as_array(f"{labels[name]}{whose}", v, expected[name]) for name, v in values.items()}

        def as_real_output(arrays: Mapping[str, Array]) -> npt.NDArray[Any]:
            return self.as_real_output(
                pair.forward or "forward", functions.forward(arrays, problem)[0], problem.dout.shape
            )

        return PairOutput(
            component=piece,
            forward_name=pair.forward,
            backward_name=pair.backward,
            output=output,
            gradients={name: array for name, (array, _) in settled.items()},
            labels=labels,
            forward=as_real_output,
            dtypes=(dtype, *(kind for _, kind in settled.values())),
            unwritten=unwritten,
            usage=usage.value,
            forward_source=source_of(functions.function),
            backward_source=source_of(functions.backward),
        )

    def _gradients(
        self, functions: Functions, cache: Any, problem: Problem, names: list[str], usage: Usage
    ) -> Gradients:
        backward, name = functions.backward, functions.pair.backward or "backward"
        assert backward is not None
        dout = usage.arrange(problem.dout)
        if usage is Usage.INTERLEAVED:
            if cache is None and functions.pair.forward is None:  # an object that is one network may keep its state
                raise TargetError(f"{name} gets None as its cache: the object keeps its state")
            functions.forward(functions.pair.piece.arrays(_other_data(problem), names), problem)
            self._previous_arguments = []  # that call was given other arrays
        returned = self.backward(name, backward, functions.labels, dout, cache)
        if usage is Usage.BACKWARD_TWICE:
            returned = self.backward(name, backward, functions.labels, dout, cache)
        return returned

    def as_array(self, name: str, value: Any, shape: tuple[int, ...]) -> tuple[npt.NDArray[Any], str]:
        """Return a value as an array, and the name of its dtype; a vector written as a row or a column is taken as one.

        Raises
        ------
        TargetError
            It is a tensor or an array whose numbers NumPy cannot read.
        """
        self.calling(name)  # a value may compute itself when it is read
        try:
            array, dtype = read(name, value)
        finally:
            self.calling("")
        if array.shape != shape and len(shape) == 1 and array.shape in ((1, *shape), (*shape, 1)):
            self.remark("shape", f"{name} has shape {array.shape}; taken as {shape}")
            array = array.reshape(shape)
        return array, dtype

    def as_real_output(self, name: str, value: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return an output that the full engine can subtract: real numbers of that shape, its own.

        Raises
        ------
        TargetError
            It is something else, if only for these inputs.
        """
        array, _ = self.as_array(name, value, shape)
        if array.shape != shape or array.dtype.kind not in "fiu":
            raise TargetError(
                f"{name} returned {array.dtype} of shape {array.shape}; expected numbers of shape {shape}"
            )
        return array.astype(np.float64)


def _other_data(problem: Problem) -> Problem:
    """Return a problem of the same shapes with other values everywhere."""
    p = problem
    return replace(p, X=1 - 2 * p.X[::-1], W=1.5 * p.W, b=-p.b, gamma=-1.5 * p.gamma, beta=p.beta + 1)


def shapes(piece: Component, problem: Problem) -> dict[str, tuple[int, ...]]:
    """Return the shape of each gradient of a piece, by input name."""
    N, D, H = problem.N, problem.D, problem.H
    matrices = {"X": (N, D), "W": (D, H), "h": (N, H), "y": (N, H)}
    return {name: matrices.get(name, (H,)) for name in piece.inputs}


def _copy(array: Array) -> Array:
    """Return a copy with the same strides, as far as two entries do not share their memory."""
    if array.flags.c_contiguous or array.flags.f_contiguous:
        return array.copy(order="A")
    if 0 in array.strides:  # expanded: the copy is expanded too, and read-only like its original
        row = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in array.strides)
        return np.broadcast_to(array[row].copy(), array.shape)
    backing = np.zeros([2 * size for size in array.shape], array.dtype)
    copy: Array = backing[tuple(slice(None, None, 2) for _ in array.shape)]
    copy[...] = array
    return copy


def _same(before: Array, after: Array) -> bool:
    """Tell whether two arrays hold the same; slower only where they do not, or hold NaN."""
    return np.array_equal(before, after) or np.array_equal(before, after, equal_nan=True)


def source_of(function: Any) -> Source | None:
    """Return where a function is written, under its decorators; None if that is not known, or here."""
    try:
        function = inspect.unwrap(function.func if isinstance(function, partial) else function)
        code = getattr(function, "__code__", None) or type(function).__call__.__code__
        if code.co_filename.startswith(("<", PACKAGE_DIR)):
            return None
        # A decorated function's code begins at its first decorator.
        lines = range(code.co_firstlineno, code.co_firstlineno + MOST_DECORATORS)
        defined = (n for n in lines if DEF.match(linecache.getline(code.co_filename, n)))
        return Source(os.path.abspath(code.co_filename), next(defined, code.co_firstlineno))
    except Exception:  # noqa: BLE001 - compiled, or an object that does not let itself be looked into
        return None


def argument_name(function: Callable[..., Any], number: int) -> str:
    """Return what a function calls its argument, counted from 0."""
    try:
        return list(inspect.signature(function).parameters)[number]
    except (TypeError, ValueError, IndexError):
        return f"argument number {number + 1}"


def describe_value(value: Any) -> str:
    """Say what a value is, briefly: a tuple of 3, None, a dict."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


def format_exception(name: str, error: BaseException) -> str:
    """Say that something raised: the error, what is known of it, and its own frames."""
    if isinstance(error, SystemExit):
        return f"{name} called sys.exit({error.code!r})"
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - an error of theirs that cannot say what it is
        message = "(its message cannot be read)"
    text = f"{name} raised {type(error).__name__}: {message[:MAX_MESSAGE_CHARS]}{'...' * (len(message) > MAX_MESSAGE_CHARS)}"
    removed = re.search(r"module 'numpy' has no attribute '(\w+)'", message)
    if removed:
        text += f" (NumPy removed np.{removed[1]}; write {REMOVED.get(removed[1], 'what replaced it')})"
    if isinstance(error, EOFError):
        text += " (it asks for input; there is none)"
    if isinstance(error, NameError) and error.name in PYTHON_2_NAMES:
        text += " (it is written for Python 2)"
    import traceback  # noqa: PLC0415 - most code raises nothing

    frames = traceback.extract_tb(error.__traceback__)
    theirs = [
        f for f in frames if not f.filename.startswith((PACKAGE_DIR, "<frozen")) and "importlib" not in f.filename
    ]
    return "\n".join([text, *(line.rstrip("\n") for line in traceback.format_list(theirs[-MAX_TRACEBACK_FRAMES:]))])


# What is shown of a message, and of the frames of a recursion.
MAX_MESSAGE_CHARS, MAX_TRACEBACK_FRAMES = 500, 8
PYTHON_2_NAMES = {"xrange", "raw_input", "unicode", "basestring", "reduce", "long"}
REMOVED = {
    "float": "float", "int": "int", "bool": "bool", "object": "object", "complex": "complex",
    "product": "np.prod", "cumproduct": "np.cumprod", "sometrue": "np.any", "alltrue": "np.all",
    "float_": "np.float64", "in1d": "np.isin", "row_stack": "np.vstack", "trapz": "np.trapezoid",
}  # fmt: skip
