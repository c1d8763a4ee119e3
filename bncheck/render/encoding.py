"""Replacements for characters that a stream cannot encode, or that no output may contain."""

import re

ASCII_REPLACEMENTS = {
    "→": "->", "─": "-", "█": "#", "±": "+-", "×": "x", "σ": "sigma", "μ": "mu", "γ": "gamma",
    "β": "beta", "δ": "delta", "²": "^2", "³": "^3", "∂": "d", "ε": "eps", "√": "sqrt", "−": "-",
    "·": "*", "≠": "!=", "–": "-", "’": "'", "…": "...",
}  # fmt: skip

# Control characters, line separators, bidirectional overrides and lone surrogates: text from the code under test must
# not carry them to a terminal or a file.
CONTROL_CHARS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
# A command that a CI service would obey in a log: "::" at the beginning of a line, after white space and the colors of
# a terminal; "##[" or "##name[" anywhere.
WORKFLOW_COMMANDS = re.compile(r"^((?:[^\S\n]|\x1b\[[\d;]*m)*):(?=:)|#(?=#\w*\[)", re.MULTILINE)
# Punctuation that Markdown interprets within a line: emphasis, code, links, also of plain addresses, HTML and tables.
MARKDOWN_SYNTAX = re.compile(r"[\\`*\[\]<>|&~]|(?<!\w)_|_(?!\w)|:(?=//)|(?<=www)\.")

_TABLE = str.maketrans(ASCII_REPLACEMENTS)


def to_ascii(text: str, *, ascii_only: bool) -> str:
    """Return the text, in ASCII if requested. The length changes, so call this before laying out columns."""
    return text.translate(_TABLE) if ascii_only else text


def escape_control_chars(text: str) -> str:
    r"""Return the text with control characters and lone surrogates as escapes: \x1b, \u202e, \udc80."""
    return CONTROL_CHARS.sub(lambda match: ascii(match[0])[1:-1], text)


def escape_commands(text: str, colon: str = r"\x3a", number_sign: str = r"\x23") -> str:
    r"""Return the text with the commands of CI services disabled: \x3a:error::, \x23#[group].

    Parameters
    ----------
    text : str
        Text after its lines are broken: a command at the beginning of a line can be in the middle of a message.
    colon, number_sign : str
        The escapes, for example those of XML.
    """
    return WORKFLOW_COMMANDS.sub(lambda match: number_sign if match[1] is None else match[1] + colon, text)


def escape_user_text(text: str) -> str:
    """Return text that may quote the code under test, safe to print on a terminal and in the log of a CI service."""
    return escape_commands(escape_control_chars(text))


def escape_json(document: str) -> str:
    """Return a JSON document of the same content that contains neither control characters nor commands."""
    return escape_commands(document, number_sign=r"\u0023").replace("\x7f", r"\u007f")


def escape_markdown(text: str) -> str:
    """Return text as one line of Markdown that shows it unchanged."""
    return MARKDOWN_SYNTAX.sub(r"\\\g<0>", " ".join(text.split()))
