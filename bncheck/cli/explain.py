"""``bncheck explain``: the catalogue of mistakes."""

import click

from bncheck.cli.command import SectionedCommand
from bncheck.cli.output import Output, output_options


@click.command(
    cls=SectionedCommand,
    examples=(
        "bncheck explain",
        "bncheck explain BN204",
        "bncheck explain diagonal-only BN301 --format markdown --save mistakes.html",
    ),
)
@click.argument("codes", metavar="[CODE]...", nargs=-1)
@output_options("table", "json", "markdown")
def explain(codes: tuple[str, ...], format_: str, save: tuple[str, ...]) -> None:
    """List the known mistakes, or explain one or more of them.

    CODE is a code such as BN204, or a name such as variance-term-missing.
    """
    from bncheck.mistakes import all_mistakes, mistake_named  # noqa: PLC0415 - slow import, which help texts do not need
    from bncheck.render.catalogue import CatalogueReport  # noqa: PLC0415 - slow import, which help texts do not need

    mistakes = [mistake_named(code) for code in codes] or list(all_mistakes())
    with Output(format_, save) as output:
        output.show(CatalogueReport(mistakes, in_full=bool(codes)))
