"""``bncheck guide``: the pages of the manual."""

import click

from bncheck.cli.command import command
from bncheck.cli.output import Output, output_options


@command(
    "bncheck guide",
    "bncheck guide contributing",
    "bncheck guide security",
    "bncheck guide contributing --format markdown --save contributing.html",
)
@click.argument("topic", required=False)
@output_options("table", "markdown")
def guide(topic: str | None, format_: str, save: tuple[str, ...]) -> None:
    """Show a page of the guide.

    Without TOPIC, list the topics.
    """
    from bncheck.guide import read_topic, topic_names  # noqa: PLC0415 - help texts do not need it
    from bncheck.render.guide_report import GuideIndex, GuidePage  # noqa: PLC0415 - imports rich

    with Output(format_, save) as output:
        output.show(GuidePage(read_topic(topic)) if topic else GuideIndex([read_topic(name) for name in topic_names()]))
