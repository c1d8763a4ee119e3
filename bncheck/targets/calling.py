"""Calling functions that are not ours: on copies, watching how they conduct themselves."""

import inspect
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bncheck.errors import NotImplementedYet, TargetError
from bncheck.pieces import Piece
from bncheck.problem import Problem
from bncheck.results import Remark

OURS = str(__file__).rsplit("targets", 1)[0]


class Caller:
    """Calls a target's functions and collects what is worth a remark, each once.

    ``calling`` is told the name of each function when its call begins, and "" when it has ended.
    """

    def __init__(self) -> None:
        self._remarks: dict[tuple[str, str], Remark] = {}
        self.calling: Callable[[str], None] = lambda _: None

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What was remarked so far."""
        return tuple(self._remarks.values())

    def remark(self, code: str, text: str) -> None:
        """Note something that is no verdict; the same code and text once."""
        self._remarks[code, text] = Remark(code, text)

    def call(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function; arrays are handed over as copies that it may write into.

        Raises
        ------
        TargetError
            It raised, or ended the process; the message holds its own frames.
        """
        given = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        self.calling(name)
        try:
            returned = function(*given)
        except Exception as error:
            raise TargetError(raised(name, error)) from error
        except SystemExit as error:
            raise TargetError(f"{name} called sys.exit({error.code!r})") from error
        finally:
            self.calling("")
        for number, (before, after) in enumerate(zip(arguments, given, strict=True)):
            if isinstance(before, np.ndarray) and not np.array_equal(before, after, equal_nan=True):
                which = argument_name(function, number)
                self.remark("mutates-input", f"{name} writes into its {which} (it was given a copy)")
        return returned

    def forward(self, name: str, function: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
        """Return the output and the cache of a forward function."""
        returned = self.call(name, function, *arguments)
        if returned is None:
            raise NotImplementedYet(f"{name} returns None: not implemented yet")
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise TargetError(f"{name} returned {told(returned)}; expected (out, cache)")
        if returned[0] is None:
            raise NotImplementedYet(f"{name} returns None: not implemented yet")
        return returned[0], returned[1]

    def backward(
        self, name: str, function: Callable[..., Any], inputs: Sequence[str], *arguments: Any
    ) -> dict[str, Any]:
        """Return what a backward function gives, by input name; a tuple is in their order."""
        returned = self.call(name, function, *arguments)
        expected = ", ".join(f"d{i}" for i in inputs)
        if returned is None:
            raise NotImplementedYet(f"{name} returns None: not implemented yet")
        if isinstance(returned, Mapping):
            known = {str(key).lower(): value for key, value in returned.items()}
            found = {i: known[f"d{i}".lower()] for i in inputs if f"d{i}".lower() in known}
            missing = [f"d{i}" for i in inputs if i not in found and i != "h"]
            if missing:
                raise TargetError(f"{name} returned no {' and no '.join(missing)}; expected {expected}")
            return found
        wanted = [i for i in inputs if i != "h" or inputs[0] == "h"]
        if len(wanted) == 1 and not isinstance(returned, tuple | list):
            return {wanted[0]: returned}
        if not isinstance(returned, tuple | list) or len(returned) not in {len(wanted), len(inputs)}:
            raise TargetError(f"{name} returned {told(returned)}; expected {expected}")
        if all(value is None for value in returned):
            raise NotImplementedYet(f"{name} returns None: not implemented yet")
        return dict(zip(inputs, returned, strict=False))

    def settle(self, name: str, value: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return a value as an array; a vector written as a row or a column is taken as one."""
        array = np.asarray(value)
        if array.shape != shape and len(shape) == 1 and array.shape in ((1, *shape), (*shape, 1)):
            self.remark("shape", f"{name} has shape {array.shape}; taken as {shape}")
            array = array.reshape(shape)
        if array.dtype.kind == "f" and array.dtype.itemsize < 8:
            self.remark("dtype", f"{name} is {array.dtype}; judged by the rounding of that")
        return array


def shapes(piece: Piece, problem: Problem) -> dict[str, tuple[int, ...]]:
    """Return the shape of each gradient of a piece, by input name."""
    N, D, H = problem.N, problem.D, problem.H
    matrices = {"X": (N, D), "W": (D, H), "h": (N, H), "y": (N, H)}
    return {name: matrices.get(name, (H,)) for name in piece.inputs}


def argument_name(function: Callable[..., Any], number: int) -> str:
    """Return what a function calls its argument, counted from 0."""
    try:
        return list(inspect.signature(function).parameters)[number]
    except (TypeError, ValueError, IndexError):
        return f"argument number {number + 1}"


def told(value: Any) -> str:
    """Say what a value is, briefly: a tuple of 3, None, a dict."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


def raised(name: str, error: BaseException) -> str:
    """Say that something raised: the error, what is known of it, and its own frames."""
    text = f"{name} raised {type(error).__name__}: {error}"
    removed = re.search(r"module 'numpy' has no attribute '(\w+)'", str(error))
    if removed:
        text += f" (NumPy removed np.{removed[1]}; write {REMOVED.get(removed[1], 'what replaced it')})"
    if isinstance(error, EOFError):
        text += " (it asks for input; there is none)"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(OURS)]
    return "\n".join([text, *(line.rstrip("\n") for line in traceback.format_list(frames))])


REMOVED = {
    "float": "float", "int": "int", "bool": "bool", "object": "object", "complex": "complex",
    "product": "np.prod", "cumproduct": "np.cumprod", "sometrue": "np.any", "alltrue": "np.all",
    "float_": "np.float64", "in1d": "np.isin", "row_stack": "np.vstack", "trapz": "np.trapezoid",
}  # fmt: skip
