"""``bncheck explain``: the list, a text, JSON and Markdown."""

import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from bncheck.cli.main import main
from bncheck.mistakes import HEADINGS, Mistake, all_mistakes, mistake_named

JSON_NAMES = {
    "code", "name", "section", "message", "undetectable_because", "formula", "explanation", "how_to_recognize",
    "usual_causes", "wrong", "correct", "references",
}  # fmt: skip


def invoke(*arguments: str, columns: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(main, list(arguments))


def test_without_a_code_every_mistake_is_listed_by_section() -> None:
    result = invoke("explain")
    assert result.exit_code == 0
    assert result.stdout.startswith("  115 known mistakes. Show one in full: bncheck explain BN204\n")
    assert re.findall(r"^    (BN\d\d\d) ", result.stdout, re.MULTILINE) == [m.code for m in all_mistakes()]
    sections = list(dict.fromkeys(m.section for m in all_mistakes()))
    assert re.findall(r"^  (\w[\w, ]+)\n    BN", result.stdout, re.MULTILINE) == sections
    assert max(map(len, result.stdout.splitlines())) <= 78


def test_a_formula_is_next_to_its_name_or_on_a_line_of_its_own_and_is_not_broken() -> None:
    lines = invoke("explain").stdout.splitlines()
    assert "    BN204  variance-term-missing            dx = (g - mean(g)) / sigma" in lines
    longest = lines.index("    BN233  sum-instead-of-mean-in-the-variance-term")
    assert lines[longest + 1] == "             dx = (g - mean(g) - xhat sum(g xhat)) / sigma"
    assert "    BN404  mask-includes-zero               dy = dout (y >= 0) (undetectable)" in lines
    for mistake in all_mistakes():
        assert any(mistake.formula in line for line in lines), mistake.code


def test_a_list_fits_a_narrow_terminal() -> None:
    assert max(map(len, invoke("explain", columns=50).stdout.splitlines())) <= 50


@pytest.mark.parametrize("name", ["bn204", "variance-term-missing", "variance-path-dropped"])
def test_a_text_is_shown_by_code_name_or_former_name(name: str) -> None:
    text = invoke("explain", name).stdout
    assert text.startswith("  BN204  variance-term-missing   (dx)\n\n  The variance term of dx is missing.\n")
    assert [heading for heading in HEADINGS if f"\n  {heading}\n    " in text] == list(HEADINGS)
    assert "\n      # Closed form\n      dx = (g - g.mean(axis=0)) / sigma\n" in text


def test_the_text_of_an_undetectable_mistake_says_why_it_is() -> None:
    text = " ".join(invoke("explain", "BN404").stdout.split())
    assert "No check can distinguish it from a correct backward pass: y is never exactly 0" in text


@pytest.mark.parametrize("mistake", all_mistakes(), ids=lambda m: m.code)
def test_a_text_fits_80_columns_and_no_line_of_code_or_formula_is_broken(mistake: Mistake) -> None:
    text = invoke("explain", mistake.code).stdout
    assert "```" not in text
    assert max(map(len, text.splitlines())) <= 78
    code = [line for heading in ("Wrong", "Correct") for b in mistake.code_blocks(heading) for line in b.splitlines()]
    formulas = re.findall(r"^    (\S.*)$", mistake.text, re.MULTILINE)
    assert all(f"      {line}".rstrip() + "\n" in text for line in code)
    assert all(f"{line.rstrip()}\n" in text for line in formulas if line not in code)


def test_an_item_of_a_list_is_filled_on_its_own() -> None:
    text = invoke("explain", "BN216").stdout
    assert re.findall(r"^    - (\w+ \w+)", text, re.MULTILINE) == ["The derivative", "The factor"]


def test_the_json_document_contains_every_text_by_its_parts() -> None:
    everything = json.loads(invoke("explain", "--format", "json").stdout)["mistakes"]
    assert [m["code"] for m in everything] == [m.code for m in all_mistakes()]
    assert all(m.keys() == JSON_NAMES for m in everything)
    (one,) = json.loads(invoke("explain", "BN404", "--format", "json").stdout)["mistakes"]
    assert one in everything
    assert one["undetectable_because"].startswith("y is never exactly 0")
    assert one["formula"] == "dy = dout (y >= 0)"
    assert one["wrong"] == ["dy = dout * (y >= 0)"]
    assert json.loads(invoke("explain", "BN204", "--format", "json").stdout)["schema"] == "bncheck/2"


def test_markdown_is_a_table_of_the_list_or_the_text_itself() -> None:
    table = invoke("explain", "--format", "markdown").stdout
    assert "\n| BN204 | variance-term-missing | `dx = (g - mean(g)) / sigma` |\n" in table
    assert invoke("explain", "BN204", "--format", "markdown").stdout.startswith(mistake_named("BN204").text)


def test_an_unknown_code_exits_2_and_suggests_the_nearest() -> None:
    result = invoke("explain", "BN250")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "Error: unknown mistake 'BN250'; did you mean BN205 (gamma-missing)? List all with: bncheck explain\n"
    )


@pytest.mark.process
@pytest.mark.parametrize("arguments", [["explain"], ["explain", "BN204"]])
def test_explain_imports_neither_numpy_nor_what_only_tables_and_panels_need(arguments: list[str]) -> None:
    script = (
        "import sys; from bncheck.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(*(m for m in ('numpy', 'rich.markdown', 'rich.progress', 'rich.panel') if m in sys.modules), "
        "file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert result.stdout
    assert result.stderr == "\n"
