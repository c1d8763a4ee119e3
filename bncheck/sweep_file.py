"""The file that a sweep keeps its rows in: a line of JSON each, appended as they are done."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from bncheck.errors import InvalidInput
from bncheck.sweep import SCHEMA, Row


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the rows of a sweep's file; a last line that a crash cut off is left out.

    Raises
    ------
    InvalidInput
        The file cannot be read, or holds something else.
    """
    for content, _ in _lines(path):
        yield Row.parsed(content)


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each parsed line and where in the file it ends."""
    end = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return  # cut off
                try:
                    content = json.loads(line)
                except ValueError:
                    raise InvalidInput(f"line {number} of {path} is no row of a sweep") from None
                if not isinstance(content, dict) or content.get("schema") != SCHEMA:
                    found = content.get("schema") if isinstance(content, dict) else None
                    raise InvalidInput(f"line {number} of {path} has the schema {found!r}; expected {SCHEMA!r}")
                end += len(line)
                yield content, end
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error


class SweepFile:
    """A file that is open for appending rows of one sweep.

    Raises
    ------
    InvalidInput
        It cannot be written, holds rows already and ``resume`` is false, or holds another sweep's.
    """

    def __init__(self, path: Path, sweep: str, *, resume: bool) -> None:
        self.done: set[int] = set()
        self._sweep, end = sweep, 0
        if path.exists() and path.stat().st_size:
            if not resume:
                raise InvalidInput(f"{path} holds rows already; add --resume to finish it, or name another file")
            for content, end in _lines(path):  # noqa: B007 - where the last whole line ends
                if content["sweep"] != sweep:
                    raise InvalidInput(
                        f"{path} holds another sweep: its rows have other axes or options; name another file"
                    )
                self.done.add(Row.parsed(content).point.key)
        try:
            if path.is_file() and path.stat().st_size > end:
                os.truncate(path, end)  # a row that a crash cut off
            self._file: BinaryIO = path.open("ab")
        except OSError as error:
            raise InvalidInput(f"cannot write {path}: {error.strerror}") from error

    def append(self, row: Row) -> None:
        """Write a row, through to the system.

        Raises
        ------
        InvalidInput
            The disk is full, say; what was written until then is kept.
        """
        try:
            self._file.write(row.line(self._sweep).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise InvalidInput(f"cannot write {self._file.name}: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # a full disk, which was told when the row was written
            self._file.close()
