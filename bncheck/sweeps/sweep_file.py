"""The row file of a sweep: one row of JSON per line, appended as the checks finish."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from bncheck.errors import InvalidInput
from bncheck.model.results import MAX_RESOLUTION
from bncheck.sweeps.rows import SWEEP_SCHEMA, Row

SWEEP_SCHEMA_1 = "bncheck-sweep/1"


def rows_of(path: Path) -> Iterator[Row]:
    """Return the rows of a file, one after another, without a last line that a crash cut off.

    Raises
    ------
    InvalidInput
        The file cannot be read, or a line is not a row.
    """
    return (row for row, _, _ in _read_lines(path))


def _read_lines(path: Path) -> Iterator[tuple[Row, str, int]]:
    """Yield each row with the id of its sweep and the position of its end in the file, in bytes."""
    end = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return  # cut off by a crash
                end += len(line)
                yield *_parse(line, f"line {number} of {path}"), end
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error


def _parse(line: bytes, place: str) -> tuple[Row, str]:
    """Return the row of a line and the id of its sweep."""
    try:
        content: Any = json.loads(line)
        if content["schema"] == SWEEP_SCHEMA_1:
            content = _upgrade(content)
        if content["schema"] != SWEEP_SCHEMA:
            raise InvalidInput(f"{place} has the schema {content['schema']!r}, expected {SWEEP_SCHEMA!r}")
        return Row.from_dict(content), str(content["sweep_id"])
    except InvalidInput:
        raise
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InvalidInput(f"{place} is not a sweep row") from None


def _upgrade(content: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the content of a row from bncheck-sweep/1."""
    gradients = {key: _upgrade_gradient(content["verdict"], *numbers) for key, numbers in content["gradients"].items()}
    renamed = {"sweep_id": content["sweep"], "excluded": content["guarded"], "message": content["said"]}
    added = {"version": None, "notes": content.get("notes", [])}
    return {**content, "schema": SWEEP_SCHEMA, "gradients": gradients, **renamed, **added}


def _upgrade_gradient(
    verdict: str | None, error: float | str | None, ratio: float | str, resolution: float | str, bound: object = "nan"
) -> dict[str, Any]:
    """Convert the numbers of a gradient from bncheck-sweep/1, and derive its verdict from them and the row's."""
    explains = {"fail": not float(ratio) <= 1, "inconclusive": not float(resolution) <= MAX_RESOLUTION}
    gradient_verdict = verdict if verdict is not None and explains.get(verdict) else "pass"
    numbers = {"tolerance_ratio": ratio, "resolution": resolution, "relative_error_bound": bound}
    return {"verdict": gradient_verdict, "relative_error": error, **numbers}


class SweepFile:
    """A row file that is open for appending the rows of one sweep.

    Parameters
    ----------
    path : Path
        The file; it is created if it does not exist.
    sweep_id : str
        ``Grid.sweep_id`` of the sweep.
    resume : bool
        Whether the file may already contain rows of the sweep.

    Raises
    ------
    InvalidInput
        The file cannot be written, contains rows although ``resume`` is false, or belongs to another sweep.
    """

    def __init__(self, path: Path, sweep_id: str, *, resume: bool) -> None:
        self.completed_keys: set[int] = set()  # keys of the points whose rows the file contains
        self._sweep_id, end = sweep_id, 0
        if path.exists() and path.stat().st_size:
            if not resume:
                raise InvalidInput(f"{path} already contains rows; add --resume to continue it, or choose another file")
            for row, other_id, end in _read_lines(path):  # noqa: B007 - used after the loop: the end of the last row
                if other_id != sweep_id:
                    problem = "belongs to another sweep (different axes or options)"
                    raise InvalidInput(f"{path} {problem}; choose another file")
                self.completed_keys.add(row.point.key)
        try:
            if path.is_file() and path.stat().st_size > end:
                os.truncate(path, end)  # remove a row that a crash cut off
            self._file: BinaryIO = path.open("ab")
        except OSError as error:
            raise InvalidInput(f"cannot write {path}: {error.strerror}") from error

    def append(self, row: Row) -> None:
        """Write a row and hand it to the operating system.

        Raises
        ------
        InvalidInput
            The row cannot be written, for example because the disk is full; earlier rows are kept.
        """
        try:
            self._file.write(row.to_json(self._sweep_id).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise InvalidInput(f"cannot write {self._file.name}: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # ``append`` has reported the full disk
            self._file.close()
