"""A click command whose help lists its options under headings, and ends in examples."""

from collections.abc import Sequence
from typing import Any

import click

OTHERS = "Options"


class SectionOption(click.Option):
    """An option that stands under a heading."""

    def __init__(self, *args: Any, section: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.section = section


class SectionedCommand(click.Command):
    """A command that shows its options by heading, what belongs to none last, and then examples."""

    def __init__(self, *args: Any, examples: Sequence[str], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the examples, each on a line of its own, that it can be pasted."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a list per heading in the order of their first option."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                heading = getattr(parameter, "section", OTHERS)
                sections.setdefault(heading, []).append(record)
        if OTHERS in sections:
            sections[OTHERS] = sections.pop(OTHERS)  # to the end
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)
