"""Characters that a stream may not have, and what is written in their place."""

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

_TABLE = str.maketrans(SPELLING)


def spell(text: str, *, ascii_only: bool) -> str:
    """Return the text, in ASCII if asked; to be done before columns are laid out."""
    return text.translate(_TABLE) if ascii_only else text
