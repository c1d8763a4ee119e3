"""Parameter types: they turn words into values, and say what else could have been typed.

Ranges are the library's business, which words its own refusals; here is only what cannot be read.
"""

import math
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # generic from click 8.4 on

SHOWN = 40


class Number(ParamType):
    """A number; ``expected`` is what a refusal says it must be, ``word`` what may stand for it."""

    def __init__(self, kind: type[int] | type[float], expected: str, word: str = "") -> None:
        self.name = "integer" if kind is int else "number"
        self._kind, self._expected, self._word = kind, expected, word

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float | str:
        """Return the number, or the word, or refuse with the value and what it must be."""
        if self._word and value == self._word:
            return self._word
        try:
            return self._kind(value)
        except (ValueError, OverflowError):
            shown = str(value) if len(str(value)) <= SHOWN else f"{str(value)[:SHOWN]}..."
            self.fail(f"{shown!r} is not {self._expected}", param, ctx)


class Names(ParamType):
    """Gradient names, separated by commas."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the names; the library says which there are."""
        del param, ctx
        if isinstance(value, tuple):
            return value
        return tuple(word.strip() for word in str(value).split(","))


class Values(ParamType):
    """A list (8,64,256), a range of whole numbers (0..9) or of decades (1e-1..1e-12, or ../3 a decade)."""

    def __init__(self, single: ParamType, whole: bool) -> None:
        self.name = "list or range"
        self._single, self._whole = single, whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Return the values in the order in which they are named."""
        if isinstance(value, tuple):
            return value
        found: list[Any] = []
        for part in filter(None, (part.strip() for part in str(value).split(","))):
            first, dots, rest = part.partition("..")
            if not dots:
                found.append(self._single.convert(part, param, ctx))
                continue
            last, _, per_decade = rest.partition("/")
            ends = [self._single.convert(end, param, ctx) for end in (first, last)]
            if self._whole and not per_decade:
                found += _whole_range(*ends)
            elif self._whole or any(isinstance(end, str) or not 0 < end < math.inf for end in ends):
                self.fail(f"{part!r} is no range; {RANGES[self._whole]}", param, ctx)
            else:
                count = int(SIZE.convert(per_decade or "1", param, ctx))
                if count < 1:
                    self.fail(f"{part!r} asks for {count} values a decade; take 1 or more", param, ctx)
                found += _decades(float(ends[0]), float(ends[1]), count)
            if len(found) > MAX_AXIS_VALUES:
                self.fail(f"{part!r} is {len(found):,} values; take at most {MAX_AXIS_VALUES:,}", param, ctx)
        return tuple(found)


# A longer axis is a slip of the finger.
MAX_AXIS_VALUES = 1_000_000
RANGES = {
    True: "whole numbers go as 0..9, or are listed: 8,64,256",
    False: "it takes two numbers above 0, as 1e-1..1e-12; list others: 0,1.5",
}


def _whole_range(first: int, last: int) -> range:
    if abs(last - first) >= MAX_AXIS_VALUES:
        raise click.BadParameter(
            f"{first}..{last} is {abs(last - first) + 1:,} values; take at most {MAX_AXIS_VALUES:,}"
        )
    return range(first, last + 1) if first <= last else range(first, last - 1, -1)


def _decades(first: float, last: float, per_decade: int) -> list[float]:
    """Return first, and on in even shares of decades, up to last; those between with four digits."""
    direction = 1 if last >= first else -1
    count = math.floor(abs(math.log10(last / first)) * per_decade + 1e-9)
    return [float(f"{first * 10 ** (direction * i / per_decade):.4g}") for i in range(count + 1)]


SIZE = Number(int, "a whole number, 1 or larger")
SEED = Number(int, "a whole number, 0 or larger")
REAL = Number(float, "a number")
STEP = Number(float, "a number above 0, such as 1e-5, or auto", word="auto")
NAMES = Names()
