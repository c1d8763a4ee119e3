"""The README is true: what it shows is what the commands print."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from bncheck.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def masked(text: str) -> str:
    """Replace measured digits and times, and the width they take; counts and words stay."""
    text = re.sub(r"largest at \w+\[[\d, ]+\]", "largest at *", text)
    return re.sub(r"[ <]*-?(\d(\.\d+)?e[+-]\d+|\d+ %|\d+\.\d\d s)", " *", text).strip()


def shown() -> list[tuple[str, str]]:
    """Return the commands of console blocks, each with the output that stands under it."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    found = [re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)[1:] for block in blocks]
    return [pair for parts in found for pair in zip(parts[::2], parts[1::2], strict=True)]


def typed() -> list[str]:
    """Return the bncheck commands of sh blocks that need no set-up."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("bncheck ")]


def test_the_readme_has_something_to_test() -> None:
    assert shown()
    assert typed()


@pytest.mark.parametrize(("command", "output"), shown())
def test_a_command_prints_what_the_readme_shows(command: str, output: str) -> None:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, shlex.split(command)[1:])
    assert masked(result.stdout) == masked(output)


@pytest.mark.parametrize("command", typed())
def test_a_command_of_the_readme_exits_0(command: str) -> None:
    result = CliRunner().invoke(main, shlex.split(command)[1:])
    assert result.exit_code == 0, result.output


def test_the_python_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    assert str(names["result"]).startswith("PASS")


def test_ci_runs_the_readme_s_test_command() -> None:
    (command,) = re.findall(r"```sh\n(.*pytest)\n```", README)
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
