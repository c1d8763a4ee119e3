"""The row file of a sweep: one row of JSON per line, appended as the checks finish."""

import json
import os
import reprlib
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from bncheck.errors import InvalidInput, explain_os_error
from bncheck.model.results import MAX_RESOLUTION
from bncheck.sweeps.rows import SWEEP_SCHEMA, Row

SWEEP_SCHEMA_1 = "bncheck-sweep/1"
# A crash of the system loses at most the rows of this time; a sync for each row would take longer than a small check.
SYNC_SECONDS = 1.0


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
    with explain_os_error(f"read {path}"), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return  # cut off by a crash
            end += len(line)
            yield *_parse(line, f"line {number} of {path}"), end


def _parse(line: bytes, place: str) -> tuple[Row, str]:
    """Return the row of a line and the id of its sweep."""
    try:
        content: Any = json.loads(line)
        if content["schema"] == SWEEP_SCHEMA_1:
            content = _upgrade(content)
        if content["schema"] != SWEEP_SCHEMA:
            raise InvalidInput(f"the schema is {reprlib.repr(content['schema'])}, expected {SWEEP_SCHEMA!r}")
        return Row.from_dict(content), str(content["sweep_id"])
    except InvalidInput as error:
        raise InvalidInput(f"{place} is not a sweep row: {error}") from error
    except KeyError as error:
        raise InvalidInput(f"{place} is not a sweep row: {error} is missing") from error
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
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
    """A row file that is open for appending the rows of one sweep; no other sweep can open it.

    Parameters
    ----------
    path : Path
        The file; it is created if it does not exist, and removed by ``close`` if it has no row then.
    sweep_id : str
        ``Grid.sweep_id`` of the sweep.
    on_row : callable
        Called with each row that the file already contains; a point that occurs several times counts once.
    resume : bool
        Whether the file may already contain rows of the sweep.

    Raises
    ------
    InvalidInput
        The file cannot be written, another sweep writes to it, it contains rows although ``resume`` is false, or it
        belongs to another sweep.
    """

    def __init__(self, path: Path, sweep_id: str, on_row: Callable[[Row], None], *, resume: bool) -> None:
        self.completed_keys: set[int] = set()  # keys of the points whose rows the file contains
        self._path, self._sweep_id, self._synced = path, sweep_id, time.monotonic()
        with explain_os_error(f"write {path}"):
            is_new = not os.path.exists(path)
            self._file: BinaryIO = path.open("ab")
        self._is_regular, self._is_new = stat.S_ISREG(self._status.st_mode), False
        try:
            if self._is_regular:  # a pipe or a device is neither locked nor read
                self._lock()
                self._is_new = is_new
                self._read_rows(on_row, resume)
        except BaseException:
            self.close()
            raise

    @property
    def _status(self) -> os.stat_result:
        return os.fstat(self._file.fileno())

    def _lock(self) -> None:
        """Lock the file; the system releases the lock when the file is closed, also by a crash."""
        is_locked = _is_locked_elsewhere(self._file)
        # The sweep that had the lock until now may have removed the file.
        if is_locked or not (self._path.exists() and os.path.samestat(self._path.stat(), self._status)):
            raise InvalidInput(f"another sweep writes to {self._path}; wait until it ends, or choose another file")

    def _read_rows(self, on_row: Callable[[Row], None], resume: bool) -> None:
        """Read the rows of the file, and remove a row that a crash cut off."""
        if self._status.st_size and not resume:
            message = f"{self._path} already contains rows; add --resume to continue it, or choose another file"
            raise InvalidInput(message)
        end = 0
        for row, sweep_id, end in _read_lines(self._path):  # noqa: B007 - used after the loop: the end of the last row
            if sweep_id != self._sweep_id:
                problem = "belongs to another sweep (different axes or options)"
                raise InvalidInput(f"{self._path} {problem}; choose another file")
            if row.point.key not in self.completed_keys:
                self.completed_keys.add(row.point.key)
                on_row(row)
        with explain_os_error(f"write {self._path}"):
            self._file.truncate(end)

    def append(self, row: Row) -> None:
        """Write a row and hand it to the operating system.

        Raises
        ------
        InvalidInput
            The row cannot be written, for example because the disk is full; earlier rows are kept.
        """
        with self._closed_after_error():
            self._file.write(row.to_json(self._sweep_id).encode() + b"\n")
            self._file.flush()
            if time.monotonic() - self._synced > SYNC_SECONDS:
                self._sync()

    def close(self) -> None:
        """Write all rows to the disk, and close the file.

        Raises
        ------
        InvalidInput
            The disk reports an error. An error that ``append`` has raised is not repeated.
        """
        if self._file.closed:
            return
        with self._closed_after_error():
            self._sync()
            if self._is_new and not self._status.st_size:
                with suppress(OSError):  # Windows does not remove an open file
                    os.remove(os.path.realpath(self._path))
            self._file.close()

    def _sync(self) -> None:
        if self._is_regular:
            os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    @contextmanager
    def _closed_after_error(self) -> Iterator[None]:
        """Close the file after an OSError, and raise it with the name of the file."""
        try:
            with explain_os_error(f"write {self._path}"):
                yield
        except InvalidInput:
            with suppress(OSError):  # close tries to write the rest again
                self._file.close()
            raise


def _is_locked_elsewhere(file: BinaryIO) -> bool:
    """Lock a file; return whether another process has locked it."""
    try:
        import fcntl  # noqa: PLC0415 - not on Windows

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):  # Windows, or a file system without locks
        return False
    return False
