"""The callback by which a long computation reports its progress."""

from collections.abc import Callable
from typing import TypeAlias

# Called with the number of finished entries and the total.
Progress: TypeAlias = Callable[[int, int], None]


def silent(_: int, __: int) -> None:
    """Report nothing."""
