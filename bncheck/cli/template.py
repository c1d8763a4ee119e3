"""``bncheck template``: a starting file for one's own implementation."""

from importlib.resources import files

import click

from bncheck.cli import stdio
from bncheck.cli.sections import SectionedCommand


@click.command(cls=SectionedCommand, examples=("bncheck template > my_layers.py",))
def template() -> None:
    """Write a commented starting file for your own implementation.

    It runs at once: bncheck run my_layers.py says what is not implemented yet.
    """
    stdio.write(files("bncheck.cli").joinpath("template.txt").read_text(encoding="utf-8"))
