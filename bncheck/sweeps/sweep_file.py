"""The file that a sweep keeps its rows in: a line of JSON each, appended as they are done."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from bncheck.errors import InvalidInput
from bncheck.sweeps.sweep import SCHEMA, Row


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the rows of a sweep's file; a last line that a crash cut off is left out.

    Raises
    ------
    InvalidInput
        The file cannot be read, or holds something else.
    """
    for row, _, _ in _lines(path):
        yield row


def _lines(path: Path) -> Iterator[tuple[Row, str, int]]:
    """Yield each row, its sweep's name, and where in the file it ends."""
    end = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return  # cut off
                end += len(line)
                yield *_parsed(line, f"line {number} of {path}"), end
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error


def _parsed(line: bytes, where: str) -> tuple[Row, str]:
    try:
        content: Any = json.loads(line)
        if content["schema"] != SCHEMA:
            raise InvalidInput(f"{where} has the schema {content['schema']!r}; expected {SCHEMA!r}")
        return Row.from_dict(content), str(content["sweep"])
    except InvalidInput:
        raise
    except (ValueError, TypeError, KeyError):
        raise InvalidInput(f"{where} is no row of a sweep") from None


class SweepFile:
    """A file that is open for appending rows of one sweep.

    Raises
    ------
    InvalidInput
        It cannot be written, holds rows already and ``resume`` is false, or holds another sweep's.
    """

    def __init__(self, path: Path, sweep: str, *, resume: bool) -> None:
        self.completed_keys: set[int] = set()
        self._sweep, end = sweep, 0
        if path.exists() and path.stat().st_size:
            if not resume:
                raise InvalidInput(f"{path} holds rows already; add --resume to finish it, or name another file")
            for row, name, end in _lines(path):  # noqa: B007 - where the last whole line ends
                if name != sweep:
                    raise InvalidInput(
                        f"{path} holds another sweep: its rows have other axes or options; name another file"
                    )
                self.completed_keys.add(row.point.key)
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
