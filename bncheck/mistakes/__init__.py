"""The catalogue of known mistakes: for each a stable code, a name, a formula, and a text."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

import numpy as np

from bncheck.errors import InvalidInput
from bncheck.mistakes.formulas import SECTIONS, Formulas
from bncheck.mistakes.pass_values import COMPONENT_VALUES, PassValues
from bncheck.model.components import Component

HEADINGS = ("What was seen", "Why it is wrong", "How to tell", "The wrong line", "The right line", "Reference")

# What code does beside computing; each is seen as the remark of the same name.
SIDE_EFFECTS = ("BN801", "BN802", "BN803")
# Why no check can tell these from the right pass, on any data that it may use.
UNDETECTABLE = {"BN404": "y is never exactly 0 on random data, and at 0 either slope is a convention"}
# What the whole network hides, and a layer by itself shows.
LAYER_ONLY = frozenset({"BN501", "BN504"})
# How near a typed code must be to be taken for another, and how many names that contain it are told.
MIN_SIMILARITY, MAX_SUGGESTIONS = 0.7, 3
# Of a mistake in several values those that may be wrong alone; both parameter gradients may, but
# of two that are exchanged one alone would be another mistake.
SEPARABLE = {"BN305": (), "BN408": ("a",), "BN411": ("dh",)}


@dataclass(frozen=True, slots=True)
class Text:
    """What a mistake's Markdown file says."""

    name: str  # kebab-case
    message: str  # one line
    parts: Mapping[str, str]  # by heading
    written: str  # all of it


@dataclass(frozen=True, slots=True)
class Mistake:
    """A known mistake; ``formulas`` is empty where it is one of conduct."""

    code: str
    section: str
    formulas: Formulas

    @property
    def text(self) -> Text:
        """The text that belongs to it."""
        return text_of(self.code)

    @property
    def name(self) -> str:
        """The name, in kebab case."""
        return self.text.name

    @property
    def message(self) -> str:
        """One line that states what is wrong."""
        return self.text.message

    @property
    def replaces(self) -> Formulas:
        """The formulas that replace correct values."""
        return self.formulas

    def code_blocks(self, heading: str) -> list[str]:
        """Return the Python code below "Wrong" or "Correct"."""
        part = self.text.parts[f"The {'right' if heading == 'Correct' else 'wrong'} line"]
        return re.findall(r"```python\n(.*?)\n```", part, re.DOTALL)

    @property
    def is_side_effect(self) -> bool:
        """Whether the mistake is in what the code does in addition to its computation."""
        return self.code in SIDE_EFFECTS

    @property
    def layer_only(self) -> bool:
        """Whether the network as a whole gives correct gradients."""
        return self.code in LAYER_ONLY

    @property
    def undetectable_because(self) -> str:
        """Why no check can tell it from the right pass; empty for most."""
        return UNDETECTABLE.get(self.code, "")

    def variants(self, piece: Component) -> Iterator["Mistake"]:
        """Yield it, if the piece has room for it, and what of it may be made alone."""
        if not self.formulas or not COMPONENT_VALUES[piece].issuperset(self.formulas):
            return
        yield self
        both = tuple(self.formulas) if self.formulas.keys() == {"dbeta", "dgamma"} else ()
        yield from (replace(self, formulas={name: self.formulas[name]}) for name in SEPARABLE.get(self.code, both))

    def apply_to(self, w: PassValues) -> PassValues:
        """Return what the mistake makes of a pass."""
        with np.errstate(all="ignore"):
            for name, formula in self.formulas.items():
                w = w.replaced(name, formula(w))
        return w


CATALOGUE = tuple(
    Mistake(code, section, formulas) for section, mistakes in SECTIONS.items() for code, formulas in mistakes.items()
) + tuple(Mistake(code, "conduct", {}) for code in SIDE_EFFECTS)


def all_mistakes() -> tuple[Mistake, ...]:
    """Return every known mistake."""
    return CATALOGUE


@cache
def text_of(code: str) -> Text:
    """Return the text of a code."""
    written = files("bncheck.mistakes").joinpath(f"{code}.md").read_text(encoding="utf-8")
    head, *rest = re.split(r"^## ", written, flags=re.MULTILINE)
    title, message = (line for line in head.split("\n") if line)
    sections = (part.split("\n", 1) for part in rest)
    return Text(title.split()[2], message, {heading: body.strip() for heading, body in sections}, written)


def mistake_named(code: str) -> Mistake:
    """Return the mistake of a code or name, in whatever case.

    Raises
    ------
    InvalidInput
        There is none; the message suggests the nearest.
    """
    known = {m.code: m for m in CATALOGUE} | {m.text.name.upper(): m for m in CATALOGUE}
    typed = f"BN{code}" if code.isdigit() else code.upper().replace(" ", "-")
    if typed in known:
        return known[typed]
    # Of those equally near, a slip of the fingers exchanges digits more often than it changes them.
    near = get_close_matches(typed, known, len(known), MIN_SIMILARITY)
    near.sort(key=lambda k: (k[:3] == typed[:3], sorted(k) == sorted(typed)), reverse=True)
    near = near[:1] or [k for k in known if len(typed) > 2 and typed in k][:MAX_SUGGESTIONS]
    guess = " or ".join(f"{known[k].code} ({known[k].text.name})" for k in near)
    raise InvalidInput(f"no mistake {code}.{f' Did you mean {guess}?' if guess else ''} All of them: bncheck explain")
