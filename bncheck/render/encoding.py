"""Characters that a stream may not have, or that nobody should get, and what is written in their place."""

import re

SPELLING = {
    "→": "->",
    "─": "-",
    "█": "#",
    "±": "+-",
    "×": "x",
    "σ": "sigma",
    "μ": "mu",
    "γ": "gamma",
    "β": "beta",
    "δ": "delta",
    "²": "^2",
    "³": "^3",
    "∂": "d",
    "ε": "eps",
    "√": "sqrt",
    "−": "-",
    "·": "*",
    "≠": "!=",
    "–": "-",
    "’": "'",
    "…": "...",
}

# Control characters and halves of surrogate pairs: no file and no terminal should get them from code under test.
UNSPEAKABLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_TABLE = str.maketrans(SPELLING)


def spell(text: str, *, ascii_only: bool) -> str:
    """Return the text, in ASCII if asked; to be done before columns are laid out."""
    return text.translate(_TABLE) if ascii_only else text


def speakable(text: str) -> str:
    r"""Return the text with what is unspeakable written out: \x1b, \udc80."""
    return UNSPEAKABLE.sub(lambda match: repr(match[0])[1:-1], text)
