"""How far a long piece of work has come, as a callback passed down to whoever does it."""

from collections.abc import Callable
from typing import TypeAlias

# Called with the number of entries that are done and how many there are to do.
Progress: TypeAlias = Callable[[int, int], None]


def silent(_: int, __: int) -> None:
    """Report nothing."""
