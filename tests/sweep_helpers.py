"""Small sweeps, and their rows without the times, which differ between runs."""

import re
from collections.abc import Iterable
from pathlib import Path

from click.testing import CliRunner, Result

from bncheck.cli.main import main
from bncheck.model.options import CheckOptions
from bncheck.sweeps.grid import Grid
from bncheck.sweeps.rows import Row

SMALL = {"N": (8,), "D": (5,), "H": (4,)}
OPTIONS = ("--N", "8", "--D", "5", "--H", "4")


def invoke(*arguments: str) -> Result:
    """Run a bncheck command in this process."""
    return CliRunner().invoke(main, list(arguments), prog_name="bncheck")


def small_grid(**axes: object) -> Grid:
    """Return a grid on a small problem; each axis is a tuple of values."""
    return Grid({**SMALL, **axes}, CheckOptions())  # type: ignore[dict-item]  # mypy does not know that they are tuples


def without_times(rows: Iterable[Row]) -> set[str]:
    """Return the rows as JSON, without their seconds."""
    return {_without_seconds(row.to_json("")) for row in rows}


def lines_without_times(path: Path) -> list[str]:
    """Return the lines of a row file, sorted and without their seconds."""
    return sorted(map(_without_seconds, path.read_text().splitlines()))


def _without_seconds(line: str) -> str:
    return re.sub(r'"seconds": [^,]+', '"seconds": 0', line)


def count_lines(path: Path) -> int:
    """Return the number of complete lines of a file that may not exist yet."""
    return path.read_bytes().count(b"\n") if path.exists() else 0
