"""Parameter types: they turn words into values, and say what else could have been typed.

Ranges are the library's business, which words its own refusals; here is only what cannot be read.
"""

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


SIZE = Number(int, "a whole number, 1 or larger")
SEED = Number(int, "a whole number, 0 or larger")
REAL = Number(float, "a number")
STEP = Number(float, "a number above 0, such as 1e-5, or auto", word="auto")
NAMES = Names()
