"""``bncheck guide``: the list of topics, and the pages."""

import re
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from bncheck.cli.main import main
from bncheck.guide import read_topic, topic_names
from tests.readme import ROOT


def invoke(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(main, ["guide", *arguments], prog_name="bncheck")


def test_the_list_of_topics_contains_every_page_with_its_first_paragraph() -> None:
    output = " ".join(invoke().stdout.split())
    assert topic_names()
    for name in topic_names():
        assert f"{name} {read_topic(name).summary}" in output


@pytest.mark.parametrize("name", topic_names())
def test_a_page_fits_80_columns(name: str) -> None:
    result = invoke(name)
    assert result.exit_code == 0
    assert read_topic(name).title in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", topic_names())
def test_the_markdown_format_gives_the_page_as_it_is_written(name: str) -> None:
    assert invoke(name, "--format", "markdown").stdout.strip() == read_topic(name).text.strip()


def test_an_unknown_topic_exits_with_2_and_a_suggestion() -> None:
    result = invoke("contribtuing")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: unknown topic 'contribtuing'; did you mean 'contributing'?\n"


@pytest.mark.process
def test_a_page_is_printed_on_an_ascii_terminal() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bncheck", "guide", topic_names()[0]],
        capture_output=True, check=True, env={"PYTHONIOENCODING": "ascii", "COLUMNS": "80"},
    )  # fmt: skip
    assert result.stdout.isascii()
    assert not result.stderr


@pytest.mark.parametrize("name", topic_names())
def test_every_file_and_function_that_a_page_names_exists(name: str) -> None:
    text = read_topic(name).text
    for path in re.findall(r"`((?:bncheck|tests|\.ci)/[\w./]+)`", text):
        assert (ROOT / path).exists(), path
    for function, path in re.findall(r"`(\w+)` in\s+`(bncheck/[\w./]+\.py)`", text):
        assert re.search(rf"^(def |class )?{function}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), path
