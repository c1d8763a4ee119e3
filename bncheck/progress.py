"""How far a long piece of work has come, as a callback passed down to whoever does it."""

from collections.abc import Callable
from typing import TypeAlias

# Called with the number of entries that were done since the last call.
Progress: TypeAlias = Callable[[int], None]


def silent(_: int) -> None:
    """Report nothing."""
