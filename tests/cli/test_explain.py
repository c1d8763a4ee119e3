"""``bncheck explain``: the list, a page, and data."""

import json
import re

import pytest
from click.testing import CliRunner, Result

from bncheck.cli.main import main
from bncheck.mistakes import CATALOGUE, HEADINGS, mistake_named
from bncheck.mistakes.formulas import SECTIONS


def invoke(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(main, list(arguments))


def test_explain_lists_every_mistake_by_section() -> None:
    result = invoke("explain")
    assert result.exit_code == 0
    assert re.findall(r"^    (BN\d\d\d) ", result.stdout, re.MULTILINE) == [m.code for m in CATALOGUE]
    assert re.findall(r"^  (\w[\w, ]+)\n    BN", result.stdout, re.MULTILINE) == [*SECTIONS, "conduct"]
    assert "BN204  variance-path-dropped              dx = (g - mean g) / sigma\n" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 78


def test_explain_shows_one_text_whatever_the_case() -> None:
    text = invoke("explain", "bn204").stdout
    assert text.startswith("  BN204  variance-path-dropped   (dx)\n")
    assert [heading for heading in HEADINGS if f"\n  {heading}\n    " in text] == list(HEADINGS)
    assert "\n      dx = (g - g.mean(axis=0)) / sigma\n" in text
    assert "```" not in text
    assert text == invoke("explain", "variance-path-dropped").stdout


@pytest.mark.parametrize("code", [m.code for m in CATALOGUE])
def test_a_text_fits_80_columns_with_no_line_of_code_broken(code: str) -> None:
    text = invoke("explain", code).stdout
    assert max(map(len, text.splitlines())) <= 78
    for block in re.findall(r"```python\n(.*?)```", mistake_named(code).text.parts["The wrong line"], re.DOTALL):
        assert all(f"      {line}\n" in text for line in block.splitlines())


def test_explain_gives_the_same_as_data() -> None:
    everything = json.loads(invoke("explain", "--format", "json").stdout)["mistakes"]
    assert [m["code"] for m in everything] == [m.code for m in CATALOGUE]
    (one,) = json.loads(invoke("explain", "BN404", "--format", "json").stdout)["mistakes"]
    assert one in everything
    assert one["never_seen"].startswith("y is never exactly 0")
    assert one["what_was_seen"] == "dy = dout (y >= 0)"


def test_an_unknown_code_exits_2_and_suggests_the_nearest() -> None:
    result = invoke("explain", "BN250")
    assert (result.exit_code, result.stdout) == (2, "")
    expected = "Error: no mistake BN250. Did you mean BN205 (gamma-missing)? All of them: bncheck explain\n"
    assert result.stderr == expected
