"""The parts of a command: its class, whose help has headings and examples, its options and its exit code."""

import enum
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from bncheck.cli.parameters import FilePath, axis_type, option_type
from bncheck.model.options import AXIS_OPTIONS, OLD_FLAGS, OPTIONS, OTHER, Kind

Command = TypeVar("Command", bound=Callable[..., Any])

AXES_HEADING = "Axes (a value, a list such as 8,64,256, or a range such as 0..9)"


class ExitCode(enum.IntEnum):
    """The exit codes of all commands; for a signal, its number plus 128."""

    PASS = 0
    NOT_PASSED = 1  # a check failed or was inconclusive
    COULD_NOT_RUN = 2  # invalid options, or the code under test did not load
    INTERRUPTED = 130

    @classmethod
    def from_passed(cls, passed: bool) -> "ExitCode":
        """Return 0 for a pass and 1 for any other result."""
        return cls.PASS if passed else cls.NOT_PASSED


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

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click would turn some exceptions into a closed pipe, an interruption or an exit."""
        try:
            return super().invoke(ctx)
        except (BrokenPipeError, EOFError, SystemExit) as error:
            raise RuntimeError(f"unhandled {error!r}") from error

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


def command(*examples: str, **attributes: Any) -> Callable[[Callable[..., Any]], SectionedCommand]:
    """Turn a function into a command; the help shows the examples."""
    return click.command(cls=SectionedCommand, examples=examples, **attributes)


targets_argument = click.argument("targets", metavar="[TARGET]...", nargs=-1, type=FilePath())


def options(*names: str, heading: str = "", **defaults: Any) -> Callable[[Command], Command]:
    """Add options of the table in ``bncheck.model.options`` to a command, in this order.

    Parameters
    ----------
    *names : str
        Names in the table.
    heading : str, default ""
        A heading that replaces the headings of the table.
    **defaults
        Defaults that replace the defaults of the table.
    """

    def decorate(function: Command) -> Command:
        for option in (OPTIONS[name] for name in reversed(names)):
            attributes: dict[str, Any] = {"is_flag": True, "default_text": option.default_text or "off"}
            if option.kind is not Kind.FLAG:
                default = defaults.get(option.name, option.default)
                attributes = {"type": option_type(option), "default": default, "default_text": option.default_text}
            function = click.option(
                option.flag, option.flag[2:].replace("-", "_"), cls=SectionOption, section=heading or option.heading,
                metavar=option.metavar, help=option.help, **attributes,
            )(function)  # fmt: skip
        return function

    return decorate


def axis_options(function: Command) -> Command:
    """Add the axes of a sweep to a command."""
    for option in reversed(AXIS_OPTIONS):
        function = click.option(
            option.flag, option.name, cls=SectionOption, section=AXES_HEADING, type=axis_type(option),
            default=str(option.default), help=option.axis_help or option.help,
        )(function)  # fmt: skip
    return function
