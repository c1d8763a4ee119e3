"""stdout and stderr: their encoding, a closed pipe, a full disk."""

import codecs
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

import click

from bncheck.errors import InvalidInput
from bncheck.render.encoding import ASCII_REPLACEMENTS, escape_commands, escape_user_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# The name of the handler of encoding errors.
ENCODING_FALLBACK = "bncheck-ascii"


def _replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    unencodable = error.object[error.start : error.end]
    return "".join(ASCII_REPLACEMENTS.get(character, "?") for character in unencodable), error.end


def configure_encoding_fallback() -> None:
    """Make stdout and stderr write ASCII replacements of characters that their encoding lacks."""
    codecs.register_error(ENCODING_FALLBACK, _replace_unencodable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ENCODING_FALLBACK)


def console_on(stream: TextIO) -> "Console":
    """Return a rich console that writes text unchanged to a stream."""
    from rich.console import Console  # noqa: PLC0415 - slow import, which help texts do not need

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def write_message(message: str) -> None:
    """Write a message, which may quote the code under test, as a line on stderr."""
    click.echo(escape_user_text(message), err=True)


def write(content: "RenderableType | str") -> None:
    """Write a result to stdout; a closed pipe is not an error.

    The formats of reports escape what they quote from the code under test, each in its syntax; a string is written
    unchanged.

    Raises
    ------
    InvalidInput
        If stdout cannot be written, for example because the disk is full; what is written later is discarded.
    """
    if sys.stdout is None:  # the parent closed stdout
        return
    try:
        if not isinstance(content, str):
            console = console_on(sys.stdout)
            with console.capture() as captured:  # rich flushes the stream at the end
                console.print(content, crop=False)
            content = escape_commands("\n".join(line.rstrip() for line in captured.get().split("\n")))
        sys.stdout.write(content)
        sys.stdout.flush()
    except OSError as error:
        redirect_stdout_to_devnull()
        if not isinstance(error, BrokenPipeError):
            raise InvalidInput(f"cannot write to stdout: {error.strerror}") from error


def redirect_stdout_to_devnull() -> None:
    """Discard what stdout still buffers, so that Python reports no error when it exits."""
    if sys.stdout is sys.__stdout__ and sys.__stdout__ is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())
