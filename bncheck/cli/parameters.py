"""Parameter types: they convert the words of the command line and reject what they cannot convert.

Whether a number is in its range is mostly decided by the library, whose messages name the parameter.
"""

import math
import reprlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bncheck.errors import unknown_name
from bncheck.model.axis_values import decades
from bncheck.model.options import Kind, Option

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # generic from click 8.4 on

# Most values of an axis; a longer one is probably a typing error.
MAX_AXIS_VALUES = 1_000_000
# The kinds of integers, and their smallest value.
INTEGER_MINIMUM = {Kind.SIZE: 1, Kind.SEED: 0}


class Number(ParamType):
    """A number of one kind; a step may also be "auto"."""

    def __init__(self, kind: Kind) -> None:
        self.name, self._kind = "integer" if kind in INTEGER_MINIMUM else "number", kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float | str:
        """Return the number, or "auto"."""
        if self._kind is Kind.STEP and value == "auto":
            return "auto"
        try:
            number = int(value) if self._kind in INTEGER_MINIMUM else float(value)
        except (ValueError, OverflowError):
            number = None
        if number is None or number < INTEGER_MINIMUM.get(self._kind, -math.inf):
            shown = reprlib.repr(value) if number is None else number
            raise click.UsageError(f"{_label(param)} must be {self._kind.value}, got {shown}", ctx)
        return number


class Choice(click.Choice[str]):
    """One of several names; the error for another one suggests the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002 - click's signature
        """Return the name."""
        if value not in self.choices:
            raise unknown_name(_label(param).lstrip("-"), value, self.choices)
        return str(value)


class FilePath(click.Path):
    """A path, which need not exist but can."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; reject a NUL character and one that the file system cannot encode."""
        try:
            return super().convert(value, param, ctx)
        except ValueError as error:
            raise click.UsageError(f"{value!r} cannot be the name of a file: {error}", ctx) from error


def split_names(value: Any) -> tuple[str, ...]:
    """Return the names in a list with commas; the library checks them."""
    return value if isinstance(value, tuple) else tuple(name.strip() for name in str(value).split(","))


class Values(ParamType):
    """Several values of one type: a list, a range of integers, or a range of decades (see ``axis_values``)."""

    name = "values"

    def __init__(self, single: ParamType, integers: bool) -> None:
        self._single, self._integers = single, integers

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Return the values in the order in which they are written."""
        if isinstance(value, tuple):
            return value
        parts = filter(None, (part.strip() for part in str(value).split(",")))
        return tuple(value for part in parts for value in self._expand(part, param, ctx))

    def _expand(self, part: str, param: click.Parameter | None, ctx: click.Context | None) -> Sequence[Any]:
        """Return the values of a range, or the single value."""
        first, dots, rest = part.partition("..")
        if not dots:
            return (self._single.convert(part, param, ctx),)
        last, slash, per_decade = rest.partition("/")
        start, stop = (self._single.convert(end, param, ctx) for end in (first, last))
        if self._integers and not slash:
            _require_length(part, abs(stop - start) + 1)
            direction = 1 if stop >= start else -1
            return range(start, stop + direction, direction)
        if self._integers:
            self.fail(f"invalid range {part!r}: integers are written as 0..9, or as a list 8,64,256", param, ctx)
        if any(isinstance(end, str) or not 0 < end < math.inf for end in (start, stop)):
            expected = "it needs two positive numbers, as in 1e-1..1e-12; list others: 0,1.5"
            self.fail(f"invalid range {part!r}: {expected}", param, ctx)
        count = int(per_decade or 1) if per_decade.isdecimal() or not slash else 0
        if count < 1:
            self.fail(f"at least 1 value per decade is required, got {per_decade or 'none'}", param, ctx)
        _require_length(part, abs(math.log10(stop) - math.log10(start)) * count)
        return decades(start, stop, count)


def _require_length(part: str, length: float) -> None:
    if length > MAX_AXIS_VALUES:
        raise click.UsageError(f"{part!r} expands to {length:,.0f} values; the limit is {MAX_AXIS_VALUES:,}")


def _label(param: click.Parameter | None) -> str:
    """Return the option as it is typed."""
    return "the value" if param is None else param.opts[0]


TYPES: dict[Kind, ParamType] = {
    **{kind: Number(kind) for kind in (Kind.SIZE, Kind.SEED, Kind.REAL, Kind.STEP)},
    Kind.NAMES: click.types.FuncParamType(split_names),
    Kind.PATH: FilePath(),
    Kind.TEXT: click.STRING,
}


def option_type(option: Option) -> ParamType:
    """Return the type of one value of an option."""
    return Choice(option.choices) if option.choices else TYPES[option.kind]


def axis_type(option: Option) -> Values:
    """Return the type of several values of an option."""
    return Values(option_type(option), integers=option.kind in INTEGER_MINIMUM)
