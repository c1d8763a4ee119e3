"""A click command whose help lists the options under headings and ends with examples."""

from collections.abc import Sequence
from typing import Any

import click

from bncheck.model.options import OLD_FLAGS, OTHER


class SectionOption(click.Option):
    """An option with a heading; ``default_text`` replaces the default in the help."""

    def __init__(self, *args: Any, section: str, default_text: str = "", **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.section, self._default_text = section, default_text

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Return the notes in brackets behind the help of the option."""
        notes = super().get_help_extra(ctx)
        return {**notes, "default": self._default_text} if self._default_text else notes


class SectionedCommand(click.Command):
    """A command whose help groups the options by heading and shows examples."""

    def __init__(self, *args: Any, examples: Sequence[str], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; old spellings of options are accepted."""
        return super().parse_args(ctx, [OLD_FLAGS.get(arg, arg) for arg in args])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the examples, each on one line, so that it can be copied."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by heading, in the order of their first option; options without a heading are last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "section", OTHER), []).append(record)
        for heading, records in sorted(sections.items(), key=lambda section: section[0] == OTHER):
            with formatter.section(heading):
                formatter.write_dl(records)
