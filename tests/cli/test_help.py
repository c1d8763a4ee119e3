"""The help: every command and option is explained, has a default and occurs in an example."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bncheck.cli.command import SectionedCommand
from bncheck.cli.main import main
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
# The first words of the help of a command.
VERBS = ("Check", "List", "Print", "Run", "Show", "Test")


def invoke(*arguments: str) -> str:
    return CliRunner(env={"COLUMNS": "80"}).invoke(main, arguments, prog_name="bncheck").stdout


def examples(command: click.Command) -> list[str]:
    assert isinstance(command, SectionedCommand)
    return list(command.examples)


def example_commands() -> Iterator[list[str]]:
    """Yield the words of every command in an example of the help or in the README."""
    for _, command in COMMANDS:
        yield from map(shlex.split, examples(command))
    lines = [line for language in ("sh", "console") for block in blocks(language) for line in block.splitlines()]
    for line in lines:
        if line.removeprefix("$ ").startswith("bncheck "):
            yield shlex.split(line.removeprefix("$ "), comments=True)


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_the_help_of_a_command_starts_with_an_imperative_verb(name: str, command: click.Command) -> None:
    assert command.help is not None
    assert command.help.startswith(VERBS), name
    assert command.get_short_help_str(200).startswith(VERBS)


def test_the_list_of_commands_shows_a_sentence_for_each_that_is_not_cut_off() -> None:
    assert re.findall(r"^  (\w+) +[A-Z].*[^.]\.$", invoke("--help"), re.MULTILINE) == [name for name, _ in COMMANDS]


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=IDS)
def test_the_help_of_an_option_ends_with_the_default(name: str, option: click.Option) -> None:
    context = click.Context(dict(COMMANDS)[name], info_name=name, show_default=True)
    record = option.get_help_record(context)
    assert record is not None
    assert re.search(r"\.  \[default: [^()\[\]]+\]$", record[1]), record
    assert len(record[1].partition("[")[0]) > 5


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=IDS)
def test_an_option_occurs_in_an_example(name: str, option: click.Option) -> None:
    assert any(words[1] == name and option.opts[0] in words for words in example_commands()), option.opts


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_the_readme_shows_every_command(name: str, command: click.Command) -> None:
    assert any(words[:2] == ["bncheck", name] for words in example_commands())
    assert f"bncheck {name}" in README
    assert examples(command)


short_selftest = cache(smoke)


@pytest.mark.process
@pytest.mark.parametrize("example", [example for _, command in COMMANDS for example in examples(command)])
def test_an_example_runs(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in blocks("python"):
        name = re.match(r"# (\w+\.py)\n", block)
        if name:
            (tmp_path / name[1]).write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(main, ["sweep", "--N", "4", "--D", "3", "--H", "2", "--out", "rows.jsonl"])
    # The full self-test takes minutes.
    monkeypatch.setattr("bncheck.selftest.trials.selftest", lambda *_, **__: short_selftest())
    monkeypatch.setattr("bncheck.selftest.trials.smoke", short_selftest)
    if "--plot" in example:
        pytest.importorskip("matplotlib")
    words, _, _ = example.partition(" > ")
    result = CliRunner().invoke(main, shlex.split(words)[1:], prog_name="bncheck")
    assert result.exit_code == ("wrong.py" in example), result.output
    for path in re.findall(r"--(?:save|plot) (\S+)", example):
        assert (tmp_path / path).stat().st_size > 0


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_the_help_is_ascii_in_80_columns_with_every_example_on_one_line(name: str, command: click.Command) -> None:
    text = invoke(name, "--help")
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 80
    assert all(f"\n  {example}\n" in text for example in examples(command))


def headings(command: str) -> dict[str, str]:
    """Return the sections of a help by heading."""
    _, *parts = re.split(r"^(\w[^:\n]*):\n", invoke(command, "--help"), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_options_of_run_are_grouped_by_heading() -> None:
    parts = headings("run")
    groups = ["Problem", "Numerical method", "Target", "Tolerances", "Output", "Options", "Examples"]
    assert list(parts) == groups
    for heading, option in zip(groups, ("--bn-eps", "--step", "--timeout", "--rtol", "--save", "--help"), strict=False):
        assert option in parts[heading]


def test_the_options_of_sweep_are_grouped_by_heading() -> None:
    axes, *others = headings("sweep")
    assert axes.startswith("Axes (a value, a list such as 8,64,256, or a range such as 0..9)")
    assert others == ["Shared settings", "Execution", "Target", "Output", "Options", "Examples"]
