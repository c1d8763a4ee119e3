"""Messages about exceptions that the code under test raised."""

import os
import re
from types import TracebackType

from bncheck.model.version import PACKAGE_DIR

# Characters of an exception's message that are shown, and stack frames of the code under test.
MAX_MESSAGE_CHARS, MAX_TRACEBACK_FRAMES = 500, 8
PYTHON_2_NAMES = {"xrange", "raw_input", "unicode", "basestring", "reduce", "long"}
REMOVED_FROM_NUMPY = {
    "float": "float", "int": "int", "bool": "bool", "object": "object", "complex": "complex",
    "product": "np.prod", "cumproduct": "np.cumprod", "sometrue": "np.any", "alltrue": "np.all",
    "float_": "np.float64", "in1d": "np.isin", "row_stack": "np.vstack", "trapz": "np.trapezoid",
}  # fmt: skip


def format_exception(name: str, error: BaseException) -> str:
    """Return a message about an exception: its type and text, a hint, and the frames of the code under test.

    Parameters
    ----------
    name : str
        What raised it: the name of a function, or a file that was imported.
    error : BaseException
        The exception.
    """
    try:
        return _format_exception(name, error)
    except BaseException:  # noqa: BLE001 - attributes of an exception of the code under test may raise anything
        return f"{name} raised an exception that cannot be described"


def _format_exception(name: str, error: BaseException) -> str:
    if issubclass(type(error), SystemExit):
        return f"{name} called sys.exit({_shorten(repr(getattr(error, 'code', None)))})"
    try:
        message = str(error)
    except BaseException:  # noqa: BLE001 - __str__ of an exception of the code under test may raise anything
        message = "(its message cannot be read)"
    text = f"{name} raised {_shorten(type(error).__name__)}: {_shorten(message)}{_hint(error, message)}"
    return "\n".join([text, *_format_frames(error.__traceback__)])


def _shorten(text: str) -> str:
    return text[:MAX_MESSAGE_CHARS] + "..." * (len(text) > MAX_MESSAGE_CHARS)


def _hint(error: BaseException, message: str) -> str:
    """Return the probable cause of an exception in parentheses, or an empty string."""
    removed = re.search(r"module 'numpy' has no attribute '(\w+)'", message)
    if removed:
        return f" (NumPy removed np.{removed[1]}; write {REMOVED_FROM_NUMPY.get(removed[1], 'its replacement')})"
    if isinstance(error, EOFError):
        return " (it reads standard input, which is empty)"
    if isinstance(error, NameError) and error.name in PYTHON_2_NAMES:
        return " (it is written for Python 2)"
    return ""


def _format_frames(trace: TracebackType | None) -> list[str]:
    """Return the last stack frames that belong neither to bncheck nor to Python's import system."""
    import traceback  # noqa: PLC0415 - slow import, only needed after an exception

    internal = (f"{PACKAGE_DIR}{os.sep}", "<frozen")
    frames = [
        frame
        for frame in traceback.extract_tb(trace)
        if not frame.filename.startswith(internal) and "importlib" not in frame.filename
    ]
    return [line.rstrip("\n") for line in traceback.format_list(frames[-MAX_TRACEBACK_FRAMES:])]
