"""stdout and stderr: whatever the stream's encoding, a pipe that closes, a disk that is full."""

import codecs
import io
import os
import sys
from typing import TextIO

from rich.console import Console, RenderableType

from bncheck.render.encoding import ASCII_REPLACEMENTS

ERRORS = "bncheck-spelling"


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(ASCII_REPLACEMENTS.get(character, "?") for character in missing), error.end


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether somebody looks at a stream; one that is closed nobody does."""
    return stream is not None and stream.isatty()


def configure_encoding_fallback() -> None:
    """Let stdout and stderr spell out what their encoding lacks, instead of raising."""
    codecs.register_error(ERRORS, _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def console_on(stream: TextIO) -> Console:
    """Return a rich console on a stream that shows text as it is."""
    return Console(file=stream, highlight=False, markup=False, emoji=False)


def write(content: RenderableType | str) -> None:
    """Write a result to stdout; a reader that has gone away is no error.

    Raises
    ------
    OSError
        The stream cannot take it: a full disk.
    """
    if not isinstance(content, str):
        console = console_on(sys.stdout)
        with console.capture() as captured:
            console.print(content, crop=False)
        content = "\n".join(line.rstrip() for line in captured.get().split("\n"))
    if sys.stdout is None:  # closed before we came
        return
    try:
        sys.stdout.write(content)
        sys.stdout.flush()
    except BrokenPipeError:
        redirect_stdout_to_devnull()


def redirect_stdout_to_devnull() -> None:
    """Send what stdout still holds nowhere, so that nothing is said of it at exit."""
    if sys.stdout is sys.__stdout__ and sys.__stdout__ is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())
