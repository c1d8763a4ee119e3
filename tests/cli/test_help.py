"""Every command and option says what it does, what it is by default, and how it is used."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bncheck.cli.main import main
from bncheck.cli.sections import SectionedCommand
from bncheck.selftest.trials import smoke
from tests.readme import README, blocks

CONTEXT = click.Context(main)
COMMANDS = [(name, command) for name in main.list_commands(CONTEXT) if (command := main.get_command(CONTEXT, name))]
OPTIONS = [
    (name, parameter)
    for name, command in COMMANDS
    for parameter in command.params
    if isinstance(parameter, click.Option)
]
IDS = [f"{name} {option.opts[0]}" for name, option in OPTIONS]
# With what a command's one line begins: it is told to do something.
VERBS = ("Check", "List", "Prove", "Show", "Write")


def examples(command: click.Command) -> list[str]:
    assert isinstance(command, SectionedCommand)
    return list(command.examples)


def shown() -> Iterator[list[str]]:
    """Yield the words of every command in an example or in the README."""
    for _, command in COMMANDS:
        yield from map(shlex.split, examples(command))
    lines = [line for language in ("sh", "console") for block in blocks(language) for line in block.splitlines()]
    for line in lines:
        if line.removeprefix("$ ").startswith("bncheck "):
            yield shlex.split(line.removeprefix("$ "), comments=True)


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_a_command_says_in_the_imperative_what_it_does(name: str, command: click.Command) -> None:
    assert command.help is not None
    assert command.help.startswith(VERBS), name
    assert command.get_short_help_str(200).startswith(VERBS)


def test_the_list_of_commands_says_of_each_in_one_line_what_it_does() -> None:
    text = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["--help"]).stdout
    assert re.findall(r"^  (\w+) +[A-Z].*[^.]\.$", text, re.MULTILINE) == [name for name, _ in COMMANDS]


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=IDS)
def test_an_option_says_what_it_does_and_its_default(name: str, option: click.Option) -> None:
    context = click.Context(dict(COMMANDS)[name], info_name=name, show_default=True)
    record = option.get_help_record(context)
    assert record is not None
    assert re.search(r"\[default: .+\]$", record[1]), record
    assert len(record[1].partition("[")[0]) > 5


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=IDS)
def test_an_option_stands_in_an_example(name: str, option: click.Option) -> None:
    assert any(words[1] == name and option.opts[0] in words for words in shown()), option.opts


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_the_readme_shows_every_command(name: str, command: click.Command) -> None:
    assert any(words[:2] == ["bncheck", name] for words in shown())
    assert f"bncheck {name}" in README
    assert examples(command)


proved = cache(smoke)


@pytest.mark.parametrize("example", [example for _, command in COMMANDS for example in examples(command)])
def test_an_example_runs(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in blocks("python"):
        name = re.match(r"# (\w+\.py)\n", block)
        if name:
            (tmp_path / name[1]).write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(main, ["sweep", "--N", "4", "--D", "3", "--H", "2", "--out", "rows.jsonl"])
    monkeypatch.setattr("bncheck.cli.selftest.trials.selftest", lambda *_, **__: proved())  # seconds, not minutes
    monkeypatch.setattr("bncheck.cli.selftest.trials.smoke", proved)
    if "--plot" in example:
        pytest.importorskip("matplotlib")
    words, _, _ = example.partition(" > ")
    result = CliRunner().invoke(main, shlex.split(words)[1:], prog_name="bncheck")
    assert result.exit_code == ("wrong.py" in example), result.output
    for path in re.findall(r"--(?:save|plot) (\S+)", example):
        assert (tmp_path / path).stat().st_size > 0


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_an_example_is_a_line_that_can_be_pasted_from_the_help(name: str, command: click.Command) -> None:
    text = CliRunner(env={"COLUMNS": "80"}).invoke(main, [name, "--help"]).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert all(f"\n  {example}\n" in text for example in examples(command))


def test_run_has_its_options_under_the_headings_of_its_parts() -> None:
    text = CliRunner().invoke(main, ["run", "--help"]).stdout
    headings = re.findall(r"^(\w+):\n", text, re.MULTILINE)
    assert headings == ["Problem", "Scheme", "Target", "Judgement", "Output", "Options", "Examples"]
    parts = dict(zip(headings, re.split(r"^\w+:\n", text, flags=re.MULTILINE)[1:], strict=True))
    assert "--bn-eps" in parts["Problem"]
    assert "--step" in parts["Scheme"]
    assert "--timeout" in parts["Target"]
    assert "--save" in parts["Output"]
