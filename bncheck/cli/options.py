"""Click options made from the table in ``bncheck.model.options``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bncheck.cli.parameters import NAMES, REAL, SEED, SIZE, STEP, Choice, ParamType, Values
from bncheck.cli.sections import SectionOption
from bncheck.model.options import AXIS_OPTIONS, OPTIONS, Kind, Option

Command = TypeVar("Command", bound=Callable[..., Any])

AXES_HEADING = "Axes (a value, a list such as 8,64,256, or a range such as 0..9)"
INTEGERS = (Kind.SIZE, Kind.SEED)
TYPES: dict[Kind, ParamType] = {
    Kind.SIZE: SIZE,
    Kind.SEED: SEED,
    Kind.REAL: REAL,
    Kind.STEP: STEP,
    Kind.NAMES: NAMES,
    Kind.PATH: click.Path(path_type=Path),
    Kind.TEXT: click.STRING,
}

targets_argument = click.argument("targets", metavar="[TARGET]...", nargs=-1, type=click.Path())


def options(*names: str, heading: str | None = None, **defaults: Any) -> Callable[[Command], Command]:
    """Add options of the table to a command, in this order.

    Parameters
    ----------
    *names : str
        Names in the table.
    heading : str, optional
        A heading that replaces those of the table.
    **defaults
        Defaults that replace those of the table.
    """

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            option = OPTIONS[name]
            default = defaults.get(name, option.default)
            command = _click_option(option, heading or option.heading, _type(option), default, option.help)(command)
        return command

    return decorate


def axis_options(command: Command) -> Command:
    """Add the axes of a sweep to a command."""
    for option in reversed(AXIS_OPTIONS):
        values = Values(_type(option), option.kind in INTEGERS)
        help_text = option.axis_help or option.help
        command = _click_option(option, AXES_HEADING, values, (option.default,), help_text)(command)
    return command


def _type(option: Option) -> ParamType:
    return Choice(option.choices) if option.kind is Kind.CHOICE else TYPES.get(option.kind, click.STRING)


def _click_option(
    option: Option, heading: str, type_: ParamType, default: Any, help_text: str
) -> Callable[[Command], Command]:
    """Return the click option of a record of the table; a flag is off by default."""
    attributes: dict[str, Any] = {"type": type_, "default": default, "metavar": option.metavar}
    if option.kind is Kind.FLAG:
        attributes = {"is_flag": True}
    name = option.flag.lstrip("-").replace("-", "_")
    default_text = "off" if option.kind is Kind.FLAG else option.default_text
    if isinstance(default, tuple) and not default_text:
        default_text = str(default[0])
    return click.option(
        option.flag, name, cls=SectionOption, section=heading, default_text=default_text, help=help_text, **attributes
    )
