"""``bncheck template``: a starting file for an implementation."""

from pathlib import Path

from bncheck.cli import stdio
from bncheck.cli.command import command
from bncheck.errors import explain_os_error


@command("bncheck template > my_layers.py")
def template() -> None:
    """Print a commented template for your own implementation.

    You can check it immediately: bncheck run my_layers.py lists the functions that are not implemented yet.
    """
    path = Path(__file__).with_suffix(".txt")
    with explain_os_error(f"read {path}"):
        content = path.read_text(encoding="utf-8")
    stdio.write(content)
