"""``bncheck explain``: the catalogue of mistakes, and one in full."""

import click

from bncheck.cli import streams
from bncheck.mistakes import CATALOGUE, mistake_named
from bncheck.render.catalogue import CatalogueList, MistakePage, catalogue_as_json


@click.command(epilog="Example: bncheck explain BN204")
@click.argument("code", required=False)
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", help="On stdout.")
def explain(code: str | None, format_: str) -> None:
    """List the mistakes that bncheck knows by name, or explain one.

    CODE is a code such as BN204, or a name such as variance-path-dropped.
    """
    mistakes = [mistake_named(code)] if code else list(CATALOGUE)
    if format_ == "json":
        streams.write(catalogue_as_json(mistakes))
    else:
        streams.write(MistakePage(mistakes[0]) if code else CatalogueList(mistakes))
