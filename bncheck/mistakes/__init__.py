"""The catalogue of known mistakes, read from the Markdown files of this directory.

A file such as BN204.md starts with TOML between two lines ``+++``: the fields of `Mistake`. Its text follows.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bncheck.errors import InvalidInput

if TYPE_CHECKING:  # numpy is not needed to read the catalogue
    from bncheck.mistakes.pass_values import PassValues
    from bncheck.model.components import Component

# The headings of a text, in order. "Usual causes" and "References" may be missing.
HEADINGS = (
    "Formula", "Why it is wrong", "How to recognize it", "Usual causes", "Wrong", "Correct", "References",
)  # fmt: skip
SIDE_EFFECTS = "side effects"

# An unknown name is compared with the known ones by difflib's ratio, from 0 to 1; a code with one wrong digit has 0.8.
MIN_SIMILARITY = 0.7
# Names that contain an unknown name; of a longer list the user can choose better in ``bncheck explain``.
MAX_SUGGESTIONS = 3


@dataclass(frozen=True, slots=True)
class Mistake:
    """A known mistake: the expressions that replace correct values, and a text that explains it."""

    code: str  # BN204; the first digit is the section
    name: str  # kebab-case; what is observed, not why: variance-term-missing
    section: str  # "forward", "dx", ..., "side effects"
    replaces: Mapping[str, str] = field(default_factory=dict)  # value name -> expression; empty for a side effect
    separable: Sequence[str] = ()  # values of ``replaces`` that may be wrong alone
    layer_only: bool = False  # a check of the entire network cannot detect it, a check of the layer can
    undetectable_because: str = ""  # why no check can distinguish it from correct code; empty if a check can
    old_names: Sequence[str] = ()  # names in earlier versions
    text: str = ""  # Markdown without the front matter

    @property
    def is_side_effect(self) -> bool:
        """Whether the returned values may be correct, and the mistake is what the code does in addition."""
        return self.section == SIDE_EFFECTS

    @property
    def message(self) -> str:
        """One sentence that says what is wrong."""
        return self.text.split("\n\n", 2)[1]

    @property
    def parts(self) -> dict[str, str]:
        """The Markdown below each heading."""
        parts = re.split(r"^## ", self.text, flags=re.MULTILINE)[1:]
        return {heading: body.strip("\n") for heading, body in (part.split("\n", 1) for part in parts)}

    @property
    def formula(self) -> str:
        """The first line below "Formula"."""
        return self.parts["Formula"].split("\n", 1)[0].strip()

    def code_blocks(self, heading: str) -> list[str]:
        """Return the Python code below "Wrong" or "Correct", one string for each form."""
        return re.findall(r"```python\n(.*?)\n```", self.parts[heading], re.DOTALL)

    def variants(self, component: "Component") -> Iterator["Mistake"]:
        """Yield the mistake, and its separable values on their own, if the component computes these values."""
        from bncheck.mistakes.pass_values import COMPONENT_VALUES  # noqa: PLC0415 - imports numpy

        if self.replaces and COMPONENT_VALUES[component] >= self.replaces.keys():
            yield self
            yield from (replace(self, replaces={name: self.replaces[name]}) for name in self.separable)

    def apply_to(self, values: "PassValues") -> "PassValues":
        """Return the values of a pass that makes the mistake."""
        for name, expression in self.replaces.items():
            values = values.replaced(name, values.evaluate(expression))
        return values


NO_MISTAKE = Mistake(code="", name="", section="")


@cache
def all_mistakes() -> tuple[Mistake, ...]:
    """Return every known mistake, sorted by code."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("BN*.md")))
    parts = (text.split("+++\n", 2) for text in texts)
    return tuple(Mistake(**tomllib.loads(fields), text=text.lstrip()) for _, fields, text in parts)


def mistake_named(name: str) -> Mistake:
    """Return the mistake with a code, a name or a former name, in upper or lower case.

    Parameters
    ----------
    name : str
        "BN204", "204", "variance-term-missing" or "variance term missing".

    Raises
    ------
    InvalidInput
        The name is unknown; the message suggests the nearest one.
    """
    key = f"BN{name}" if name.isdigit() else name.upper().replace(" ", "-")
    known = {m.code: m for m in all_mistakes()}
    known |= {label.upper(): m for m in all_mistakes() for label in (*m.old_names, m.name)}
    if key in known:
        return known[key]
    nearest = " or ".join(f"{m.code} ({m.name})" for m in _nearest(key, known))
    suggestion = f"did you mean {nearest}? List" if nearest else "list"
    raise InvalidInput(f"unknown mistake {name!r}; {suggestion} all with: bncheck explain")


def _nearest(key: str, known: Mapping[str, Mistake]) -> Sequence[Mistake]:
    """Return the mistake with the most similar name, or some whose names contain the key."""
    from difflib import get_close_matches  # noqa: PLC0415 - slow import, only needed for this error

    similar = get_close_matches(key, known, len(known), MIN_SIMILARITY)
    if similar:  # swapped digits are a more frequent typing error than a wrong digit
        return [known[max(similar, key=lambda k: (k[:3] == key[:3], sorted(k) == sorted(key)))]]
    containing = {m.code: m for label, m in known.items() if len(key) > 2 and key in label}
    return list(containing.values())[:MAX_SUGGESTIONS]
