"""The formats of reports: on stdout, in files and for CI."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema
from click.testing import CliRunner, Result
from rich.console import Group
from rich.table import Table
from rich.text import Text

from bncheck import CheckResult, Problem, check
from bncheck.checking.edge_cases import EDGE_CASES
from bncheck.cli.main import main
from bncheck.model.source import Source
from bncheck.render import FORMATS
from bncheck.render.ci_formats import MAX_ANNOTATIONS, github, junit
from bncheck.render.export import markdown_blocks
from bncheck.render.layout import Page
from bncheck.render.report import ItemStatus, Report, ReportItem, Suite
from bncheck.selftest.sensitivity import SensitivityTrial
from bncheck.selftest.trials import FalseAlarmTrial, InjectionResult, SelftestResult
from tests.samples import LAYERS, WRONG_LAYERS

# The schema that pytest's source distribution carries (testing/example_scripts/junit-10.xsd).
SCHEMA = xmlschema.XMLSchema(Path(__file__).parent.parent / "junit-10.xsd")
SMALL = ("--N", "6", "--D", "5", "--H", "4")


def invoke(*arguments: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(main, list(arguments), prog_name="bncheck")


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "right.py").write_text(LAYERS, encoding="utf-8")
    (tmp_path / "wrong.py").write_text(WRONG_LAYERS, encoding="utf-8")
    (tmp_path / "raises.py").write_text("import numpy\n\n1 / 0\n", encoding="utf-8")
    (tmp_path / "unfinished.py").write_text(
        f"{LAYERS}\ndef batchnorm_backward_alt(dout, cache):\n    return None\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


class FixedReport(Report):
    """A report of the given items."""

    headline = "a headline"

    def __init__(self, *items: ReportItem) -> None:
        self.items = items

    def blocks(self, page: Page) -> Sequence[Text]:
        return (page.text("a block"),)

    def suites(self) -> Sequence[Suite]:
        return (Suite("a suite", self.items, 1234.5678, "bncheck run"),)


def parsed(text: str) -> ElementTree.Element:
    """Return the root of a JUnit document after validating it."""
    SCHEMA.validate(text)
    return ElementTree.fromstring(text)


def outcomes(root: ElementTree.Element) -> list[tuple[str, str, str]]:
    """Return class, name and result of every test case."""
    return [
        (case.get("classname", ""), case.get("name", ""), case[0].tag if len(case) else "pass")
        for case in root.iter("testcase")
    ]


# Commands that check something, and their exit codes.
JUDGING = (
    (["run", *SMALL], 0),
    (["run", *SMALL, "right.py", "wrong.py", "raises.py"], 1),
    (["run", *SMALL, "unfinished.py"], 0),
    (["run", *SMALL, "raises.py"], 2),
    (["run", *SMALL, "--step", "1e-14"], 1),
    (["run", *SMALL, "--engine", "full", "--sample", "3"], 0),
    (["sweep", *SMALL, "--seed", "0..2"], 0),
    (["sweep", *SMALL, "--step", "1e-5,1e-14"], 0),
    (["sweep", *SMALL, "--step", "1e-13,1e-14"], 1),
    (["sweep", *SMALL, "right.py", "wrong.py", "raises.py"], 1),
    (["report", "rows.jsonl"], 1),
    (["derive"], 0),
    (["smoke"], 0),
    (["smoke", "right.py"], 0),
    (["smoke", "right.py", "wrong.py"], 1),
)


@pytest.mark.process
@pytest.mark.parametrize(("arguments", "code"), JUDGING)
def test_every_format_has_a_failure_if_and_only_if_the_exit_code_is_not_0(arguments: list[str], code: int) -> None:
    if arguments[0] == "report":
        invoke("sweep", *SMALL, "reference", "wrong.py", "--out", "rows.jsonl")
    saved = [word for name in ("report.xml", "report.md", "report.json") for word in ("--save", name)]
    result = invoke(*arguments, "--format", "github", *saved)
    assert result.exit_code == code, result.output
    annotated = re.findall(r"^::(?:error|warning) ", result.stdout, re.MULTILINE)
    assert bool(annotated) == bool(code)
    assert len(annotated) <= MAX_ANNOTATIONS * len(arguments)
    root = parsed(Path("report.xml").read_text(encoding="utf-8"))
    results = [result for _, _, result in outcomes(root)]
    assert results
    assert bool({"failure", "error"} & set(results)) == bool(code)
    assert_counts_match(root)
    assert_tables_are_complete(Path("report.md").read_text(encoding="utf-8"), headed="derive" not in arguments)
    content = json.loads(Path("report.json").read_text(encoding="utf-8"))
    targets = sum(word.endswith(".py") for word in arguments) if arguments[0] in ("run", "smoke") else 1
    assert isinstance(content, list) == (targets > 1)
    documents = content if isinstance(content, list) else [content]
    assert len(documents) == max(targets, 1)
    assert all(document["schema"].startswith("bncheck") for document in documents)


def assert_counts_match(root: ElementTree.Element) -> None:
    for suite in root.iter("testsuite"):
        cases = list(suite.iter("testcase"))
        assert suite.get("tests") == str(len(cases))
        for tag, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert suite.get(count) == str(sum(case.find(tag) is not None for case in cases))


def assert_tables_are_complete(text: str, *, headed: bool) -> None:
    assert text.count("```") % 2 == 0
    if headed:
        assert re.search(r"^## (PASS|FAIL|INCONCLUSIVE|raises.py)", text, re.MULTILINE)
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        lines = table.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert re.fullmatch(r"\|( :?--:? \|)+", lines[1])


@pytest.mark.process
def test_junit_has_a_case_for_each_gradient_and_problem() -> None:
    root = parsed(invoke("run", *SMALL, "wrong.py", "--format", "junit").stdout)
    suites = [suite.get("name") for suite in root]
    assert suites[0] == "wrong.py, N 6, D 5, H 4, eps 1e-05, seed 0"
    assert suites[1] == "wrong.py, edge case small-variance"
    assert len(suites) == 1 + len(EDGE_CASES)  # the problem first
    gradients = {
        ("wrong.affine_backward", "dx"), ("wrong.affine_backward", "dw"), ("wrong.affine_backward", "db"),
        ("wrong.batchnorm_backward", "dx"), ("wrong.batchnorm_backward", "dgamma"),
        ("wrong.batchnorm_backward", "dbeta"), ("wrong.relu_backward", "dx"),
    }  # fmt: skip
    typical = {f"wrong.py, edge case {case.name}" for case in EDGE_CASES if case.typical}
    for suite in root:
        results = outcomes(suite)
        assert gradients <= {(function, name) for function, name, _ in results}
        failing = [(function, name) for function, name, result in results if result != "pass"]
        if suite is root[0] or suite.get("name") in typical:
            assert failing == [("wrong.batchnorm_backward", "dx")]
    failure = root[0].find(".//failure")
    assert failure is not None
    assert "all 24 entries of dx are wrong" in failure.get("message", "")
    assert "BN204 variance-term-missing" in str(failure.text)
    assert "bncheck run wrong.py --N 6 --D 5 --H 4 --seed 0" in str(failure.text)
    assert str(failure.text).endswith(f"{Path('wrong.py').resolve()}:{WRONG_LAYERS.splitlines().index(BACKWARD) + 1}")


BACKWARD = "def batchnorm_backward(dout, cache):"


def test_junit_has_a_case_for_each_gradient_of_each_check_of_a_sweep() -> None:
    root = parsed(invoke("sweep", *SMALL, "--seed", "0..3", "--format", "junit").stdout)
    assert [len(suite.findall("testcase")) for suite in root] == [6, 6, 6, 6]
    assert root[3].get("name", "").startswith("reference, N 6, D 5, H 4, eps 1e-05")


def test_an_inconclusive_check_of_a_sweep_is_skipped_if_another_step_passes() -> None:
    root = parsed(invoke("sweep", *SMALL, "--step", "1e-5,1e-14", "--format", "junit").stdout)
    assert "skipped" not in {outcome for *_, outcome in outcomes(root[0])}
    assert "skipped" in {outcome for *_, outcome in outcomes(root[1])}


@pytest.mark.process
def test_a_function_that_is_not_implemented_is_a_skipped_case() -> None:
    root = parsed(invoke("run", *SMALL, "unfinished.py", "--format", "junit").stdout)
    assert ("unfinished.batchnorm_backward_alt", "not checked", "skipped") in outcomes(root)


def test_characters_that_xml_cannot_contain_are_escaped() -> None:
    text = junit([FixedReport(ReportItem("f", "a\x00b", ItemStatus.FAIL, "bell \x07 <&> \ud800", "\x1b[31m"))])
    (case,) = parsed(text).iter("testcase")
    assert case.get("name") == "a\\x00b"
    assert case[0].get("message") == "bell \\x07 <&> \\ud800"
    assert str(case[0].text).endswith("\n\\x1b[31m")


@pytest.mark.process
def test_an_annotation_is_at_the_def_of_the_backward_function() -> None:
    result = invoke("run", *SMALL, "wrong.py", "--format", "github")
    line = WRONG_LAYERS.splitlines().index(BACKWARD) + 1
    annotation, headline = result.stdout.splitlines()
    title = "wrong.py.batchnorm_backward%3A dx"
    assert annotation.startswith(f"::error file=wrong.py,line={line},title={title}::batchnorm_backward: all 24 ")
    assert "%0ABN204 variance-term-missing: " in annotation
    assert headline.startswith("FAIL  wrong.py: ")


DECORATED = """
import functools
def twice(*_):
    def decorate(f):
        @functools.wraps(f)
        def g(*args, **named):
            return f(*args, **named)
        return g
    return decorate

class Layers:
    @staticmethod
    @twice(
        1,
    )
    def batchnorm_backward(dout, cache):
        return tuple(2 * g for g in batchnorm_backward(dout, cache))

    def batchnorm_forward(self, x, gamma, beta, bn_param):
        return batchnorm_forward(x, gamma, beta, bn_param)
"""


@pytest.mark.process
def test_annotations_of_decorated_methods_name_the_def_relative_to_the_workspace() -> None:
    source = LAYERS + DECORATED
    folder = Path("src, a")  # a comma must be escaped in a property
    folder.mkdir()
    (folder / "own.py").write_text(source, encoding="utf-8")
    root = str(Path.cwd())
    result = invoke("run", *SMALL, f"{folder}/own.py:Layers", "--format", "github", GITHUB_WORKSPACE=root)
    line = source.splitlines().index("    def batchnorm_backward(dout, cache):") + 1
    assert result.stdout.startswith(f"::error file=src%2C a/own.py,line={line},title=")
    elsewhere = invoke(
        "run", *SMALL, f"{folder}/own.py:Layers", "--format", "github", GITHUB_WORKSPACE=f"{root}/src, a"
    )
    assert elsewhere.stdout.startswith(f"::error file=own.py,line={line},title=")


@pytest.mark.process
def test_a_file_that_does_not_load_is_annotated_at_the_line_of_the_error() -> None:
    result = invoke("run", *SMALL, "raises.py", "--format", "github")
    assert result.stdout.startswith("::error file=raises.py,line=3,title=raises.py%3A run::raises.py raised ")


def test_annotations_escape_the_syntax_of_workflow_commands() -> None:
    source = Source(f"{Path.cwd()}/a:b,c.py", 3)
    line, _ = github(
        [FixedReport(ReportItem("f", "100 %", ItemStatus.INCONCLUSIVE, "5 %\r", "next: line, here", source))]
    ).splitlines()
    assert line == "::warning file=a%3Ab%2Cc.py,line=3,title=f%3A 100 %25::5 %25%0D%0Anext: line, here"


def test_at_most_as_many_annotations_are_written_as_github_shows() -> None:
    text = github([FixedReport(*(ReportItem("f", str(number), ItemStatus.FAIL, "") for number in range(25)))])
    assert text.count("::error") == MAX_ANNOTATIONS
    assert "and 15 more that GitHub does not display\n" in text


@pytest.mark.process
def test_reports_are_appended_to_the_job_summary_as_markdown() -> None:
    page = Path("page.md")
    page.write_text("before\n", encoding="utf-8")
    for target in ("right.py", "wrong.py"):
        invoke("run", *SMALL, target, "--format", "github", GITHUB_STEP_SUMMARY=str(page))
    written = page.read_text(encoding="utf-8")
    assert written.startswith("before\n## PASS right.py: ")
    assert "\n## FAIL wrong.py: " in written
    assert "| batchnorm_backward | dx (6, 4) | 24 | 24 |" in written
    assert "BN204  variance-term-missing" in written
    invoke("run", *SMALL, GITHUB_STEP_SUMMARY=str(page))  # other formats do not write it
    assert page.read_text(encoding="utf-8") == written


def test_a_job_summary_that_cannot_be_written_is_a_warning_and_changes_no_verdict() -> None:
    result = invoke("run", *SMALL, "--format", "github", GITHUB_STEP_SUMMARY="no/such/folder")
    assert result.exit_code == 0
    assert result.stderr == "GITHUB_STEP_SUMMARY no/such/folder cannot be written: No such file or directory\n"


SAVED = ("report.html", "report.svg", "report.txt", "report.json", "report.md", "report.xml")


@pytest.mark.process
@pytest.mark.parametrize("columns", ["40", "200"])
def test_reports_are_saved_by_suffix_at_a_fixed_width_in_addition_to_stdout(columns: str) -> None:
    options = [word for name in SAVED for word in ("--save", name)]
    result = invoke("run", *SMALL, "right.py", "wrong.py", *options, COLUMNS=columns, NO_COLOR="1")
    html, svg, text, document, notes, xml = (Path(name).read_text(encoding="utf-8") for name in SAVED)
    assert result.stdout.count("FAIL") == text.count("FAIL") > 0  # both contain all reports and the summary
    assert max(map(len, text.splitlines())) in (77, 78)
    assert "\x1b" not in text
    assert "color: #" in html  # in color, although the output is not a terminal
    assert "<title>bncheck</title>" in html
    assert len(json.loads(document)) == 2
    assert "## FAIL wrong.py" in notes
    assert parsed(xml).find(".//failure") is not None
    ElementTree.fromstring(svg)
    for page in (html, svg):
        assert "BN204" in page
        assert not re.search(r"url\((?!#)|src=|href=|@import|@font-face", page)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no/such/folder/report.html", "cannot write no/such/folder/report.html: No such file or directory"),
        (".", "cannot tell a format from '.'; use .html, .svg, .txt, .json, .md or .xml"),
        ("report.pdf", "cannot tell a format from 'report.pdf'; use .html, .svg"),
        ("folder.txt", "cannot write folder.txt: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_written_is_an_error_before_the_check(
    path: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("folder.txt").mkdir()
    monkeypatch.setattr("bncheck.cli.checks.check", lambda *_, **__: pytest.fail("the check started"))
    result = invoke("run", "--save", path)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1
    assert invoke("run", "--save", "first.txt", "--save", path).exit_code == 2
    assert not Path("first.txt").exists()


@pytest.mark.process
def test_an_existing_file_is_replaced_only_by_a_new_report_and_no_empty_file_is_left() -> None:
    old = Path("old.txt")
    old.write_text("older, and longer than the new report: " + 99 * "long", encoding="utf-8")
    assert invoke("run", *SMALL, "--only", "dh", "no_such_module", "--save", "new.txt").exit_code == 2
    assert Path("new.txt").read_text(encoding="utf-8").startswith("  no_such_module: could not run")
    failed = invoke("report", "no_such_rows", "--save", "old.txt", "--save", "none.txt")
    assert failed.exit_code == 2
    assert old.read_text(encoding="utf-8").startswith("older")
    assert not Path("none.txt").exists()
    invoke("explain", "BN204", "--save", "old.txt")
    assert old.read_text(encoding="utf-8").startswith("  BN204  variance-term-missing")
    assert "longlong" not in old.read_text(encoding="utf-8")


def test_a_full_disk_gives_a_one_line_error() -> None:
    Path("full.txt").symlink_to("/dev/full")
    result = invoke("run", *SMALL, "--save", "full.txt", "--save", "other.txt")
    assert result.exit_code == 2
    assert "PASS" in Path("other.txt").read_text(encoding="utf-8")
    assert result.stderr == "Error: cannot write full.txt: No space left on device\n"
    assert "PASS" in result.stdout  # the report is printed nevertheless


def test_a_saved_report_of_an_interrupted_run_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def interrupt(done: int, total: int) -> None:
        calls.append((done, total))
        if len(calls) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("bncheck.cli.progress.ProgressDisplay.update", lambda _, *counts: interrupt(*counts))
    result = invoke("run", *SMALL, "--engine", "full", "--format", "json", "--save", "report.xml")
    assert result.exit_code == 130
    assert json.loads(result.stdout)["verdict"] == "inconclusive"
    assert ("reference", "every entry", "failure") in outcomes(parsed(Path("report.xml").read_text(encoding="utf-8")))


@pytest.mark.process
def test_smoke_prints_one_line_for_a_pass_and_the_full_report_of_a_failure() -> None:
    right = invoke("smoke", "right.py")
    assert right.exit_code == 0
    assert re.fullmatch(
        r"PASS  right\.py: 424 of 424 entries match \(N 16, D 6, H 8, and 17 edge cases\), \d\.\d\d s\n", right.stdout
    )
    both = invoke("smoke", "wrong.py", "right.py")
    assert both.exit_code == 1
    assert "BN204  variance-term-missing" in both.stdout
    assert "reproduce        bncheck run wrong.py --N 16 --D 6 --H 8 --seed 0" in both.stdout
    assert both.stdout.splitlines()[-1].startswith("PASS  right.py: ")
    assert invoke("smoke", "raises.py").exit_code == 2


def test_every_saved_format_has_its_own_suffix() -> None:
    assert {format_.suffix for format_ in FORMATS.values() if not format_.printed} == {".html", ".svg", ".txt"}
    suffixes = [format_.suffix for format_ in FORMATS.values() if format_.suffix]
    assert len(suffixes) == len(set(suffixes))


def test_markdown_contains_tables_and_escapes_vertical_bars() -> None:
    page = Page(ascii_only=False, width=76)
    table = page.table("a | b", "count")
    table.add_row("x|y", Text("3"))
    grid = Table.grid()
    grid.add_row("label", "sentence")
    written = markdown_blocks([page.text("A title", "bold"), table, Group(grid, page.text("end"))])
    assert written.split("\n") == [
        "### A title", "", "| a \\| b | count |", "| :-- | --: |", "| x\\|y | 3 |", "",
        "```text", "labelsentence", "```", "", "```text", "end", "```", "",
    ]  # fmt: skip


def test_a_selftest_that_misses_a_mistake_fails_in_every_format(monkeypatch: pytest.MonkeyPatch) -> None:
    missed = SelftestResult(
        mistakes=(
            InjectionResult("BN204", "variance-term-missing", 3, 2, 2, (), None),
            InjectionResult("BN404", "mask-includes-zero", 3, 0, 0, (), "a convention"),
        ),
        false_alarm_trials=(FalseAlarmTrial("reference", 10, 0, ("bncheck run --N 3",)),),
        sensitivity_trials=(SensitivityTrial(10.0, "one entry", 6, 5), SensitivityTrial(0.1, "one entry", 6, 0)),
        resolution=1e-9,
        seconds=1.0,
    )
    monkeypatch.setattr("bncheck.selftest.trials.selftest", lambda *_, **__: missed)
    result = invoke("selftest", "--format", "junit")
    assert result.exit_code == 1
    assert outcomes(parsed(result.stdout)) == [
        ("BN204", "variance-term-missing", "failure"),
        ("BN404", "mask-includes-zero", "skipped"),
        ("correct implementation", "reference", "failure"),
        ("sensitivity", "10 times the resolution, one entry", "failure"),
        ("sensitivity", "0.1 times the resolution, one entry", "pass"),
    ]
    assert json.loads(invoke("selftest", "--format", "json").stdout)["passed"] is False
    assert invoke("selftest", "--format", "github").stdout.count("::error") == 3
    headline = "FAIL  0 of 1 injected mistakes detected, 1 false alarm on 10 problems, 1.0 s"
    assert invoke("selftest", "--format", "github").stdout.splitlines()[-1] == headline


AWKWARD = "raise ValueError('a\\x1b[31mred\\x00 \\udc80')\n"


@pytest.mark.process
def test_control_characters_of_the_target_are_escaped_in_every_format() -> None:
    Path("odd.py").write_text(AWKWARD, encoding="utf-8")
    Path("report.md").write_text("older", encoding="utf-8")
    options = [word for name in SAVED for word in ("--save", name)]
    result = invoke("run", *SMALL, "odd.py", "--format", "github", *options, GITHUB_STEP_SUMMARY="page.md")
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    for name in (*SAVED, "page.md"):
        text = Path(name).read_text(encoding="utf-8")
        assert "red" in text
        assert not re.search("[\x00\x1b\ud800-\udfff]", text), name
    ElementTree.fromstring(Path("report.svg").read_text(encoding="utf-8"))
    assert "\x1b" not in result.stdout


def test_errors_are_annotated_before_warnings_and_each_level_has_its_limit() -> None:
    many = [ReportItem("f", f"inconclusive {number}", ItemStatus.INCONCLUSIVE) for number in range(12)]
    text = github([FixedReport(*many, ReportItem("f", "dx", ItemStatus.FAIL, "wrong"))])
    assert text.startswith("::error title=f%3A dx::wrong\n")
    assert text.count("::warning") == MAX_ANNOTATIONS


@pytest.mark.parametrize("arguments", [["sweep", *SMALL, "--out", "rows.json"], ["report", "rows.json"]])
def test_a_report_never_overwrites_a_sweep_file(arguments: list[str]) -> None:
    invoke("sweep", *SMALL, "--out", "rows.json")
    before = Path("rows.json").read_bytes()
    result = invoke(*arguments, "--save", "./rows.json")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: --save ./rows.json would overwrite the rows in rows.json")
    assert Path("rows.json").read_bytes() == before


@pytest.mark.process
def test_a_report_is_saved_even_if_stdout_cannot_be_written() -> None:
    script = "from bncheck.cli.main import main; main()"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script, "run", *SMALL, "--save", "report.json"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert "Error: cannot write to stdout: No space left on device" in done.stderr
    assert json.loads(Path("report.json").read_text(encoding="utf-8"))["verdict"] == "pass"


@pytest.mark.parametrize("closed", [1, 2])
def test_a_closed_stream_does_not_change_the_exit_code(closed: int) -> None:
    for command, code in ((["run", *SMALL, "wrong.py"], 1), (["sweep", *SMALL], 0)):
        words = " ".join([sys.executable, "-m", "bncheck", *command])
        done = subprocess.run(["sh", "-c", f"{words} {closed}>&-"], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.process
def test_targets_that_an_interruption_left_unchecked_are_reported_as_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(problem: Problem, name: str, **options: object) -> CheckResult:
        if name == "wrong.py":
            raise KeyboardInterrupt
        return check(problem, name, **options)  # type: ignore[arg-type]  # options of any type

    monkeypatch.setattr("bncheck.cli.checks.check", interrupt)
    result = invoke("run", *SMALL, "right.py", "wrong.py", "raises.py", "--format", "junit")
    assert result.exit_code == 130
    assert result.stderr == "Interrupted; not checked: wrong.py, raises.py.\n"
    results = outcomes(parsed(result.stdout))
    assert ("wrong", "run", "error") in results
    assert ("raises", "run", "error") in results
