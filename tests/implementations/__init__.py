"""Correct and wrong implementations of batch norm, as source text, for the tests of the verdict."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True, slots=True)
class Implementation:
    """An implementation of the layer functions or of the network."""

    source: str  # Python source text, complete on its own
    attribute: str = ""  # the object in it that is the target; empty if the module itself is
    requires: tuple[str, ...] = ()  # optional packages that it imports

    def load(self, name: str) -> Any:
        """Run the source text and return the target: a mapping of names, or the object that ``attribute`` names."""
        module = ModuleType(name)
        exec(compile(self.source, f"<{name}>", "exec"), module.__dict__)
        return getattr(module, self.attribute) if self.attribute else vars(module)


def edited(source: str, *edits: tuple[str, str]) -> str:
    """Return a source text with replacements; each text to replace must occur exactly once.

    Raises
    ------
    ValueError
        A text to replace is missing or ambiguous: the edit would do nothing, or too much.
    """
    for old, new in edits:
        if source.count(old) != 1:
            raise ValueError(f"{old!r} occurs {source.count(old)} times, expected 1")
        source = source.replace(old, new)
    return source
