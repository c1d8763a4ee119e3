"""Click options made from the table in ``bncheck.model.options``."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from bncheck.cli.parameters import axis_type, option_type
from bncheck.cli.sections import SectionOption
from bncheck.model.options import AXIS_OPTIONS, OPTIONS, Kind, Option

Command = TypeVar("Command", bound=Callable[..., Any])

AXES_HEADING = "Axes (a value, a list such as 8,64,256, or a range such as 0..9)"

targets_argument = click.argument("targets", metavar="[TARGET]...", nargs=-1, type=click.Path())


def options(*names: str, heading: str = "", **defaults: Any) -> Callable[[Command], Command]:
    """Add options of the table to a command, in this order.

    Parameters
    ----------
    *names : str
        Names in the table.
    heading : str, default ""
        A heading that replaces the headings of the table.
    **defaults
        Defaults that replace the defaults of the table.
    """

    def decorate(command: Command) -> Command:
        for option in (OPTIONS[name] for name in reversed(names)):
            attributes: dict[str, Any] = {"is_flag": True}
            if option.kind is not Kind.FLAG:
                default = defaults.get(option.name, option.default)
                attributes = {"type": option_type(option), "metavar": option.metavar, "default": default}
            command = _click_option(option, heading or option.heading, help=option.help, **attributes)(command)
        return command

    return decorate


def axis_options(command: Command) -> Command:
    """Add the axes of a sweep to a command."""
    for option in reversed(AXIS_OPTIONS):
        attributes = {
            "type": axis_type(option),
            "default": str(option.default),
            "help": option.axis_help or option.help,
        }
        command = _click_option(option, AXES_HEADING, **attributes)(command)
    return command


def _click_option(option: Option, heading: str, **attributes: Any) -> Callable[[Command], Command]:
    name = option.flag.lstrip("-").replace("-", "_")
    default_text = "off" if option.kind is Kind.FLAG else option.default_text
    return click.option(option.flag, name, cls=SectionOption, section=heading, default_text=default_text, **attributes)
