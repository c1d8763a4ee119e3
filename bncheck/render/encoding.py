"""Characters that a stream may not have, or that nobody should get, and what is written in their place."""

import re

ASCII_REPLACEMENTS = {
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
CONTROL_CHARS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_TABLE = str.maketrans(ASCII_REPLACEMENTS)


def to_ascii(text: str, *, ascii_only: bool) -> str:
    """Return the text, in ASCII if asked; to be done before columns are laid out."""
    return text.translate(_TABLE) if ascii_only else text


def escape_control_chars(text: str) -> str:
    r"""Return the text with what is unspeakable written out: \x1b, \udc80."""
    return CONTROL_CHARS.sub(lambda match: repr(match[0])[1:-1], text)
