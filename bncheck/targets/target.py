"""The protocol of the code under test: what functions there are, and the calls that bncheck makes.

A ``Target`` only evaluates. What its functions are taken for, and whether they are correct, is decided by its callers,
from the arrays that come back.
"""

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bncheck.model.source import Source
from bncheck.targets.usage import Usage

FloatArray: TypeAlias = npt.NDArray[np.float64]
IndexArray: TypeAlias = npt.NDArray[np.intp]


class ParameterKind(enum.Enum):
    """How an argument is passed to a parameter."""

    POSITIONAL = "positional"  # also those that accept a keyword
    VAR_POSITIONAL = "*"
    KEYWORD_ONLY = "keyword"
    VAR_KEYWORD = "**"


class Parameter(NamedTuple):
    """A parameter of a function under test."""

    name: str
    kind: ParameterKind
    has_default: bool


class Function(NamedTuple):
    """A function under test, as its namespace defines it."""

    parameters: tuple[Parameter, ...] | None  # None: unknown, for example of a compiled function
    is_routine: bool  # a function or method, and not another callable object
    source: Source | None  # None: unknown, or built into bncheck
    words: frozenset[str]  # names and strings in its code, in lower case

    def accepts(self, count: int) -> bool:
        """Return whether it can be called with a number of positional arguments, or with more."""
        if self.parameters is None:
            return True
        positional = sum(p.kind is ParameterKind.POSITIONAL for p in self.parameters)
        return positional >= count or any(p.kind is ParameterKind.VAR_POSITIONAL for p in self.parameters)

    def parameter_name(self, position: int) -> str:
        """Return the name of an argument, by its position from 0."""
        names = [p.name for p in self.parameters or ()]
        return names[position] if position < len(names) else f"number {position + 1}"


class Default(enum.Enum):
    """An argument that represents the default value of its parameter."""

    DEFAULT = "default"


# An array, a number, a mapping of both by name, or Default.
Argument: TypeAlias = Any


class Call(NamedTuple):
    """A call of a forward function."""

    function: str
    arguments: tuple[Argument, ...]
    named: Mapping[str, Argument]


class PairCall(NamedTuple):
    """A forward call, and the calls of its backward function."""

    forward: Call
    backward: str | None  # None: only the forward function is called
    dout: npt.NDArray[Any]
    usage: Usage = Usage.FIRST
    other: Call | None = None  # a forward call between the forward and the backward call; only for INTERLEAVED
    may_store_state: bool = True  # False: with ``other``, a cache that is None is an error


class Value(NamedTuple):
    """A value that a function under test returned, read as an array."""

    array: npt.NDArray[Any]  # real numbers; otherwise, dtype object, with an ``Unreadable`` or None
    dtype: str  # in the array library of the value: "bfloat16"
    error: str = ""  # why an array of another library cannot be read


class Returned(NamedTuple):
    """What a backward function returned."""

    description: str  # "a tuple of 3"
    is_sequence: bool  # a tuple or list
    keys: tuple[str, ...] | None  # of a mapping; None: it is not one
    values: tuple[Value | None, ...]  # of a mapping or sequence, or the single value; None: a None


class PairReturn(NamedTuple):
    """What the functions of a pair returned."""

    output: Value
    backward: Returned | None  # None: not called, or not implemented yet
    not_implemented: str  # why the backward function returned nothing; "" if it did


class Modification(NamedTuple):
    """An array that a call changed in place."""

    function: str  # that was called
    owner: str  # the function that the array was passed to
    position: int  # of the argument, from 0
    was_earlier: bool  # it was passed in the call before


class Target(ABC):
    """The code under test.

    Attributes
    ----------
    names : tuple of str
        Names that it defines.
    only : str
        The function that the user selected; "" for all functions.
    modifications : list of Modification
        The side effects of all calls so far.
    """

    names: tuple[str, ...]
    only: str

    def __init__(self) -> None:
        self.modifications: list[Modification] = []

    @abstractmethod
    def functions(self, names: Iterable[str]) -> dict[str, Function]:
        """Describe the names that are functions.

        Raises
        ------
        TargetError
            An attribute cannot be read.
        """

    @abstractmethod
    def run_pair(self, call: PairCall) -> PairReturn:
        """Call a forward function and its backward function on copies of the arrays.

        Raises
        ------
        NotImplementedYet
            The forward function is not implemented yet.
        TargetError
            A function raised, or the forward function did not return a pair (out, cache).
        """

    @abstractmethod
    def run_forward(
        self, call: Call, shape: tuple[int, ...], position: int, indices: IndexArray, values: FloatArray
    ) -> Iterator[FloatArray]:
        """Yield the outputs of forward calls in each of which one entry of one array has another value.

        Parameters
        ----------
        call : Call
            The call without a perturbation.
        shape : tuple of int
            The shape of its output.
        position : int
            Position of the array in the arguments.
        indices : ndarray of int
            Flat index of the entry, for each call.
        values : ndarray
            The value there, for each call.

        Raises
        ------
        TargetError
            It raised, or did not return real numbers of that shape.
        """
