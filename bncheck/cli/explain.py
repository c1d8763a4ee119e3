"""``bncheck explain``: the catalogue of mistakes, and one in full."""

import click
from rich.console import Group

from bncheck.cli import streams
from bncheck.mistakes import CATALOGUE, mistake_named
from bncheck.render.catalogue import CatalogueList, MistakePage, catalogue_as_json


@click.command(epilog="Example: bncheck explain BN204")
@click.argument("codes", metavar="[CODE]...", nargs=-1)
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", help="On stdout.")
def explain(codes: tuple[str, ...], format_: str) -> None:
    """List the mistakes that bncheck knows by name, or explain some.

    CODE is a code such as BN204, or a name such as variance-path-dropped.
    """
    mistakes = [mistake_named(code) for code in codes] or list(CATALOGUE)
    if format_ == "json":
        streams.write(catalogue_as_json(mistakes))
    else:
        streams.write(Group(*map(MistakePage, mistakes)) if codes else CatalogueList(mistakes))
