"""The README, the pages of the guide, and their code blocks."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    """Return the content of the code blocks of a language in a Markdown text."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str = README) -> list[tuple[str, int]]:
    """Return the bncheck commands of the sh blocks, each with the exit code that its comment states."""
    lines = [line.partition("#") for block in blocks("sh", text) for line in block.splitlines()]
    return [
        (command.strip(), int((re.match(r" exits (\d)", comment) or [0, 0])[1]))
        for command, _, comment in lines
        if command.startswith("bncheck ") and "--dask" not in command  # the tests of the cluster run these
    ]
