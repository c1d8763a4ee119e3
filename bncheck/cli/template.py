"""``bncheck template``: a starting file for an implementation."""

from pathlib import Path

from bncheck.cli import stdio
from bncheck.cli.command import command


@command("bncheck template > my_layers.py")
def template() -> None:
    """Print a commented template for your own implementation.

    You can check it immediately: bncheck run my_layers.py lists the functions that are not implemented yet.
    """
    stdio.write(Path(__file__).with_suffix(".txt").read_text(encoding="utf-8"))
