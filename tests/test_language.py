"""The language of bncheck: words that users and readers of the code should not have to decipher.

Each forbidden word has its replacement. An exception is a phrase in which the word has its plain meaning.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import bncheck
from bncheck.cli.main import main

PACKAGE = Path(bncheck.__file__).parent
ROOT = Path(__file__).parent.parent

# In texts that users read, in lower case: pattern (between word boundaries) and replacement.
FORBIDDEN_IN_TEXTS = {
    "told": "reported, printed, listed",
    "said": "the message, printed, stated",
    "seen|saw": "detected, observed",
    "beside": "next to, in addition to, compared with",
    "whole": "full, entire, total; a whole number is an integer",
    "likewise": "the text itself",
    "alike|unlike": "equal, different",
    "anew|afresh": "again, new",
    "amiss": "failed",
    "blunt|coarse": "not precise enough",
    "guarded|unguarded": "excluded, too close to 0 to check",
    "kinks": "ReLU, excluded outputs",
    "planted": "injected",
    "caught|flagged": "detected, reported",
    "probes?": "edge case",
    "remarks?|remarked": "note",
    "audits?|audited": "cross-check",
    "error bars?": "error bound",
    "course functions?": "layer functions",
    "foreign": "custom, user",
    "(?:die|dies|died|dying|deaf|born)": "crash, exit, blocked",
    "trust|trusted|rely|relied|prove|proves": "test, verify",
    "at rest": "unperturbed",
    "(?:held|hold|holds) against": "compared with",
    "comes to": "is, total",
    "goes (?:with|again)": "depends on, is retried",
    "so many": "N",
    "no more than that": "at most",
    "by itself": "alone, on its own",
    "but for": "except",
    "all the same": "nevertheless",
    "way out": "suggestion",
    "last words": "partial result",
    "in words": "a message",
    "hides it|gives? it away": "makes it undetectable, reveals it",
    "turned round": "inverted, reversed",
    "no answer|(?<!could )not run": "could not run",
    "nothing is wrong": "no error found",
    "is no(?! longer)": "is not a",
    "of course|simply": "(delete)",
    "we|us|ours?": "bncheck, the user, the code under test",
    r"\w*(?:normalis|recognis|initialis|optimis|colour|behaviour|centring|centred)\w*": "American spelling",
}
# Phrases in which a forbidden word has its plain meaning, and the reason.
ALLOWED_PHRASES = {
    "error in the whole gradient": "a common factor, in contrast to an error in a term",
    "there is no": "the subject is not inverted",
}
# String constants that are not texts, and the reason.
ALLOWED_STRINGS = {
    "centring": "the old name of an equation, which stays as an alias",
    "guarded": "a name in rows of schema bncheck-sweep/1, which are still read",
    "said": "a name in rows of schema bncheck-sweep/1, which are still read",
    "audit": "part of the identity of a sweep of version 0.1, which can be resumed",
}

# No identifier is one of these words: they stand in for a noun that the reader has to guess.
FORBIDDEN_IDENTIFIERS = {
    "told", "said", "seen", "found", "met", "made", "kept", "taken", "given", "listed", "those", "these", "beside",
    "along", "whole", "again", "likewise", "once", "at", "of", "own",
}  # fmt: skip
# No identifier contains one of these words.
FORBIDDEN_IN_IDENTIFIERS = {
    "told", "said", "seen", "beside", "whole", "likewise", "amiss", "blunt", "coarse", "guarded", "planted", "caught",
    "probe", "probes", "remark", "remarks", "audit", "audits", "house", "floor", "room", "door", "hall", "deaf", "died",
    "foreign", "spoil", "spoilt",
}  # fmt: skip
ALLOWED_IDENTIFIERS: dict[str, str] = {}  # by identifier: the reason


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line number and text of each string constant of a module, also within f-strings, except docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if id(node) not in docstrings and node.value not in ALLOWED_STRINGS:
            yield node.lineno, node.value


def identifiers(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line number and name of everything that a module defines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def is_forbidden(name: str) -> bool:
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
    return name not in ALLOWED_IDENTIFIERS and (
        name.strip("_").lower() in FORBIDDEN_IDENTIFIERS or not words.isdisjoint(FORBIDDEN_IN_IDENTIFIERS)
    )


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for child in command.list_commands(context):
            subcommand = command.get_command(context, child)
            assert subcommand is not None
            yield from commands(subcommand, f"{name} {child}")


def findings(text: str) -> list[str]:
    """Return the forbidden words of a text with their replacements."""
    text = text.lower()
    for phrase in ALLOWED_PHRASES:
        text = text.replace(phrase, "")
    return [
        f"{match[0]!r} -> {replacement}"
        for pattern, replacement in FORBIDDEN_IN_TEXTS.items()
        for match in re.finditer(rf"(?<![\w-])(?:{pattern})(?![\w-])", text)
    ]


def test_patterns_match_words_and_not_parts_of_words() -> None:
    assert findings("This check is too blunt") == ["'blunt' -> not precise enough"]
    assert findings("Seen in --no-probes") == ["'seen' -> detected, observed"]
    assert not findings("There is no target, unseen or wholesale; discourse functions")


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_string_has_a_forbidden_word(path: Path) -> None:
    assert not [f"line {line}: {finding}" for line, text in strings(path) for finding in findings(text)]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_identifier_is_or_contains_a_forbidden_word(path: Path) -> None:
    assert not [f"line {line}: {name}" for line, name in identifiers(path) if is_forbidden(name)]


@pytest.mark.parametrize(("name", "command"), list(commands(main, "bncheck")))
def test_no_help_text_has_a_forbidden_word(name: str, command: click.Command) -> None:
    text = command.get_help(click.Context(command, info_name=name))
    assert not findings(" ".join(text.split()))


def documents() -> list[Path]:
    """Return the README, the template, the guide, the texts of the derivation and the catalogue."""
    texts = [path for path in PACKAGE.rglob("*") if path.suffix in (".md", ".toml", ".txt")]
    return [ROOT / "README.md", *sorted(texts)]


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_no_document_has_a_forbidden_word(path: Path) -> None:
    text = re.sub(r"\A\+\+\+\n.*?^\+\+\+\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert not [f"{line.strip()}: {finding}" for line in text.splitlines() for finding in findings(line)]


LINT_EXCEPTION = re.compile(r"#\s*(?:noqa|type:\s*ignore)\b(?P<reason>.*)")


@pytest.mark.parametrize("folder", [PACKAGE, Path(__file__).parent], ids=["bncheck", "tests"])
def test_every_lint_exception_has_a_reason_of_its_own(folder: Path) -> None:
    for path in sorted(folder.rglob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = LINT_EXCEPTION.search(line)
            if match and path != Path(__file__):
                reason = re.sub(r"^(:\s*[\w, ]+|\[[\w, -]+\])\s*", "", match["reason"]).strip(" #-")
                assert len(reason.split()) > 1, f"{path}:{number}: no reason"
                assert not re.search(r"likewise|(see|as) (above|before|below)|as the others", reason), (
                    f"{path}:{number}"
                )
