"""Replacements for characters that a stream cannot encode, or that no output may contain."""

import re

ASCII_REPLACEMENTS = {
    "→": "->", "─": "-", "█": "#", "±": "+-", "×": "x", "σ": "sigma", "μ": "mu", "γ": "gamma",
    "β": "beta", "δ": "delta", "²": "^2", "³": "^3", "∂": "d", "ε": "eps", "√": "sqrt", "−": "-",
    "·": "*", "≠": "!=", "–": "-", "’": "'", "…": "...",
}  # fmt: skip

# Control characters and lone surrogates: text from the code under test must not carry them to a terminal or a file.
CONTROL_CHARS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_TABLE = str.maketrans(ASCII_REPLACEMENTS)


def to_ascii(text: str, *, ascii_only: bool) -> str:
    """Return the text, in ASCII if requested. The length changes, so call this before laying out columns."""
    return text.translate(_TABLE) if ascii_only else text


def escape_control_chars(text: str) -> str:
    r"""Return the text with control characters and lone surrogates as escapes: \x1b, \udc80."""
    return CONTROL_CHARS.sub(lambda match: repr(match[0])[1:-1], text)
