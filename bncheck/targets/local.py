"""A target in this process: bncheck calls its functions on copies of the arrays, and notes their side effects."""

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np

from bncheck.errors import NotImplementedYet, TargetError
from bncheck.targets.arrays import copy_with_strides, read_value
from bncheck.targets.exceptions import format_exception
from bncheck.targets.functions import describe_function
from bncheck.targets.target import (
    Argument,
    Call,
    Default,
    FloatArray,
    Function,
    IndexArray,
    Modification,
    PairCall,
    PairReturn,
    Returned,
    Target,
    Value,
)
from bncheck.targets.usage import Usage

T = TypeVar("T")

# Entries of a mapping or sequence that are read from a backward function.
MAX_RETURNED_VALUES = 64


class LocalTarget(Target):
    """A module, class, object, function or mapping of functions.

    Parameters
    ----------
    target : object
        The code under test. A class is instantiated without arguments; a function represents its module, of which the
        other functions are not checked.
    name : str
        Its name in messages.
    on_call : callable, optional
        Called with a description of what runs, such as the name of a function, before it runs.
    is_interruptible : bool, default True
        Whether a KeyboardInterrupt is the user's; if not, the code under test raised it.
    max_bytes : int, optional
        Arrays with more bytes are described and not read.

    Raises
    ------
    TargetError
        The attributes cannot be read, or the class cannot be instantiated.
    """

    def __init__(
        self,
        target: Any,
        name: str,
        *,
        on_call: Callable[[str], None] = lambda _: None,
        is_interruptible: bool = True,
        max_bytes: int = sys.maxsize,
    ) -> None:
        super().__init__()
        self._on_call, self._is_interruptible, self.max_bytes = on_call, is_interruptible, max_bytes
        self._name, self.only = name, ""
        if inspect.isfunction(target):
            self.only, target = target.__name__, sys.modules.get(target.__module__, target)
        if isinstance(target, Mapping):
            target = SimpleNamespace(**{str(key): value for key, value in target.items()})
        if isinstance(target, type) and not isinstance(target.__dict__.get("forward"), staticmethod):
            target = self._instantiate(target)
        self._namespace = target
        self.names = self._guard(f"reading the attributes of {name}", lambda: tuple(map(str, dir(target))))
        # Function, position, original and copy of each array that the last call left unchanged.
        self._previous_arguments: list[tuple[str, int, Any, Any]] = []

    def _instantiate(self, cls: type) -> Any:
        """Return an instance of a class; the class itself if it cannot be instantiated but has static methods."""
        try:
            return self._guard(f"{cls.__name__}()", cls)
        except TargetError as error:
            if any(isinstance(value, staticmethod) for value in vars(cls).values()):
                return cls
            message, newline, frames = str(error).partition("\n")
            raise TargetError(f"{message}; bncheck creates classes without arguments{newline}{frames}") from error

    def functions(self, names: Iterable[str]) -> dict[str, Function]:
        """Describe the names that are functions."""

        def describe() -> dict[str, Function | None]:
            return {name: describe_function(getattr(self._namespace, name, None)) for name in names}

        functions = self._guard(f"reading the attributes of {self._name}", describe)
        return {name: function for name, function in functions.items() if function is not None}

    def run_pair(self, call: PairCall) -> PairReturn:
        """Call a forward function and its backward function on copies of the arrays."""
        out, cache = self._forward(call.forward)
        output = self._read(call.forward.function, out)  # the function may reuse the buffer in the next call
        if call.backward is None or output.error:
            return PairReturn(output, None, "")
        try:
            return PairReturn(output, self._backward(call, call.backward, cache), "")
        except NotImplementedYet as error:
            return PairReturn(output, None, str(error).partition(" ")[2])

    def run_forward(
        self, call: Call, shape: tuple[int, ...], position: int, indices: IndexArray, values: FloatArray
    ) -> Iterator[FloatArray]:
        """Yield the outputs of forward calls in each of which one entry of one array has another value."""
        array = np.array(call.arguments[position], order="C")
        perturbed = call._replace(arguments=(*call.arguments[:position], array, *call.arguments[position + 1 :]))
        flat, notes_side_effects = array.reshape(-1), False  # the first run of the pair has noted them
        for index, value in zip(indices, values, strict=True):
            original, flat[index] = flat[index], value
            output = self._read(call.function, self._forward(perturbed, notes_side_effects)[0]).array
            flat[index] = original
            if output.shape != shape or output.dtype.kind not in "fiu":
                returned = f"{call.function} returned {output.dtype} of shape {output.shape}"
                raise TargetError(f"{returned}, expected numbers of shape {shape}")
            yield output.astype(np.float64, copy=False)

    def _forward(self, call: Call, notes_side_effects: bool = True) -> tuple[Any, Any]:
        """Return the output and the cache of a forward function."""
        self._previous_arguments = []
        function = self._guard(call.function, lambda: getattr(self._namespace, call.function))
        arguments = tuple(_prepare(function, key, value) for key, value in enumerate(call.arguments))
        named = {key: _prepare(function, key, value) for key, value in call.named.items()}
        returned = self._call(call.function, arguments, named, notes_side_effects)
        if returned is not None and (not isinstance(returned, tuple | list) or len(returned) != 2):
            raise TargetError(f"{call.function} returned {_describe_value(returned)}; expected a tuple (out, cache)")
        if returned is None or returned[0] is None:
            raise NotImplementedYet(f"{call.function} returns None: not implemented yet")
        return returned[0], returned[1]

    def _backward(self, call: PairCall, name: str, cache: Any) -> Returned:
        """Call the backward function in the usage of the call, and read what it returns."""
        dout = call.usage.arrange(call.dout)
        if call.other is not None:
            if cache is None and not call.may_store_state:  # an object that is a single network may store its state
                raise TargetError(f"{name} receives None as its cache: the object stores its state")
            self._forward(call.other)
            self._previous_arguments = []  # the backward call belongs to the earlier forward call
        for _ in range(2 if call.usage is Usage.BACKWARD_TWICE else 1):
            returned = self._call(name, (dout, cache), {})
            if returned is None:
                raise NotImplementedYet(f"{name} returns None: not implemented yet")
        return self._guard(name, lambda: self._read_gradients(name, returned))

    def _read_gradients(self, name: str, returned: Any) -> Returned:
        """Read the values of a mapping, a tuple, a list or a single array."""
        keys = None
        is_sequence = isinstance(returned, tuple | list)
        if isinstance(returned, Mapping):
            items = list(returned.items())[:MAX_RETURNED_VALUES]
            keys, values = tuple(str(key) for key, _ in items), [value for _, value in items]
        else:
            values = list(returned[:MAX_RETURNED_VALUES]) if is_sequence else [returned]
        read = tuple(None if value is None else self._read(name, value) for value in values)
        return Returned(_describe_value(returned), is_sequence, keys, read)

    def _read(self, name: str, value: Any) -> Value:
        """Read a value as an array; reading a lazy tensor runs code."""
        self._on_call(name)
        return self._guard(name, lambda: read_value(value, self.max_bytes))

    def _call(
        self, name: str, arguments: tuple[Any, ...], named: Mapping[str, Any], notes_side_effects: bool = True
    ) -> Any:
        """Call a function with copies of the arrays, which it may modify."""
        copies = [copy_with_strides(a) if isinstance(a, np.ndarray) else a for a in arguments]
        self._on_call(name)
        returned = self._guard(name, lambda: getattr(self._namespace, name)(*copies, **named))
        if notes_side_effects:
            self._note_side_effects(name, arguments, copies)
        return returned

    def _guard(self, name: str, function: Callable[[], T]) -> T:
        """Run code of the target.

        Raises
        ------
        NotImplementedYet
            It raised NotImplementedError.
        TargetError
            It raised another exception, or called sys.exit; the message contains the frames of the code under test.
        """
        try:
            return function()
        except TargetError:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and self._is_interruptible:
                raise
            if isinstance(error, NotImplementedError):
                raise NotImplementedYet(f"{name} raises NotImplementedError: not implemented yet") from error
            raise TargetError(format_exception(name, error)) from error

    def _note_side_effects(self, name: str, arguments: tuple[Any, ...], copies: list[Any]) -> None:
        """Note which arrays a call modified: its own arguments, and those of the call before it."""
        unchanged = []
        for position, (original, copy) in enumerate(zip(arguments, copies, strict=True)):
            if not isinstance(original, np.ndarray):
                continue
            if _are_equal(original, copy):
                unchanged.append((name, position, original, copy))
            else:
                self.modifications.append(Modification(name, name, position, was_earlier=False))
        for owner, position, original, copy in self._previous_arguments:
            if not _are_equal(original, copy):
                self.modifications.append(Modification(name, owner, position, was_earlier=True))
        self._previous_arguments = unchanged


def _prepare(function: Any, key: int | str, value: Argument) -> Any:
    """Return an argument with the default value of its parameter; a mapping is copied, with its arrays."""
    if value is Default.DEFAULT:
        parameters = inspect.signature(function).parameters
        return (list(parameters.values())[key] if isinstance(key, int) else parameters[key]).default
    if isinstance(value, Mapping):
        return {name: v.copy() if isinstance(v, np.ndarray) else v for name, v in value.items()}
    return value


def _are_equal(one: Any, other: Any) -> bool:
    """Return whether two arrays have equal values; the slower comparison of NaN is only made if they seem to differ."""
    return np.array_equal(one, other) or np.array_equal(one, other, equal_nan=True)


def _describe_value(value: Any) -> str:
    """Return a short description of a returned value: a tuple of 3, None, an array."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return "an array"
    return "None" if value is None else f"a {type(value).__name__}"
