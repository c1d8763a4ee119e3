"""Text from the code under test and from row files is shown; no terminal, browser or CI service obeys it."""

import io
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt
from rich.console import Console, RenderableType
from rich.text import Text

from bncheck import CheckResult, Verdict, check, random_problem
from bncheck.cli import stdio
from bncheck.cli.main import main
from bncheck.mistakes import mistake_named
from bncheck.mistakes.injected import FaultyNetwork
from bncheck.model.results import EdgeCaseResult, NotChecked, Note, UncheckedFunction
from bncheck.model.source import Source
from bncheck.render import FORMATS
from bncheck.render.check_report import CheckReport
from bncheck.render.ci_formats import github
from bncheck.render.encoding import escape_commands, escape_json
from bncheck.render.layout import Page, wrap_command
from bncheck.render.report import Report
from bncheck.render.summary import RunFailure, Summary, TargetSummary
from bncheck.render.sweep_report import SweepReport
from bncheck.sweeps.aggregate import SweepSummary
from bncheck.sweeps.grid import SweepPoint
from bncheck.sweeps.rows import GradientSummary, Row

CONTROLS = "\0\x1b\r\b\x07\x7f\x85\u2028\u202e\u2066\udc80\ud800"
HOSTILE = (
    f"::error::first {CONTROLS} \x1b[31m <script>alert(1)</script> <img src=x> [link](https://evil.example) "
    "https://evil.example ![x](y) | `code` ```\n```\n::error::second\n \t::set-output name=a::b\n"
    f"\r::error::third \x85::error::fourth ##[error]fifth ##vso[sixth] [red]seventh[/red] {'z ' * 150}{'::' * 100}"
)
# What a shell can pass to a command.
ARGUMENT = HOSTILE.replace("\0", "").replace("\ud800", "")
# A row with another half of a surrogate pair in its command is not read.
COMMAND = f"bncheck run {shlex.quote(HOSTILE.replace(chr(0xD800), ''))} --seed 1"
# The options of a check and its arrays are bncheck's own.
OWN_FIELDS = {"component", "interface", "problem", "options"}
ANNOTATION = re.compile(r"::(error|warning) (file=[^:,]*,line=\d+,)?title=[^:,]*::")


def infect(value: Any, name: str = "") -> Any:
    """Replace every text in the records of a result."""
    if name in OWN_FIELDS:
        return value
    if isinstance(value, str):
        return COMMAND if name == "reproduce" else HOSTILE
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: infect(getattr(value, f.name), f.name) for f in fields(value)})
    if isinstance(value, tuple):
        infected = map(infect, value, getattr(value, "_fields", [""] * len(value)))
        return type(value)(*infected) if hasattr(value, "_fields") else tuple(infected)
    if isinstance(value, Mapping):
        return {f"{number} {HOSTILE}": infect(item) for number, item in enumerate(value.values())}
    return value


def infected_check() -> CheckReport:
    result = check(random_problem(6, 5, 4), FaultyNetwork(mistake_named("BN204")))
    result = replace(
        result,
        reproduce="bncheck",
        unchecked_functions=(UncheckedFunction("f", "raised", Verdict.FAIL, Source("f.py", 3)),),
        not_checked=(NotChecked("g", "no"),),
        notes=(Note("code", "message"),),
        edge_cases=(EdgeCaseResult("case", Verdict.FAIL, ("dx",), "bncheck", (2, 1, 1), "about"),),
    )
    infected: CheckResult = infect(result)
    assert infected.target.dtype == HOSTILE
    return CheckReport(infected)


def infected_row(seed: int, verdict: Verdict | None = Verdict.FAIL) -> Row:
    gradient, name = GradientSummary(Verdict.FAIL, 0.1, 5.0, 1e-5, 1e-9), "".join(filter(str.isprintable, HOSTILE))
    return Row(
        SweepPoint(target=f"{seed} {HOSTILE}", seed=seed, scheme="central"), verdict, {name: gradient}, 3, 2, 0, 0.5,
        COMMAND, HOSTILE, (HOSTILE,),
    )  # fmt: skip


def infected_sweep() -> SweepReport:
    rows = [infected_row(0), infected_row(1, None)]
    return SweepReport(SweepSummary(rows), COMMAND, {"central": {HOSTILE: 2.0}}, 1.0, rows)


REPORTS: dict[str, Callable[[], Report]] = {
    "check": infected_check,
    "error": lambda: RunFailure(HOSTILE, f"{HOSTILE}\nFile {HOSTILE}"),
    "summary": lambda: Summary([TargetSummary(HOSTILE, 1, 1, Verdict.FAIL, 0), TargetSummary.could_not_run(HOSTILE)]),
    "sweep": infected_sweep,
}


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        assert not {"href", "src", "onload"} & {name for name, _ in attrs}


def require_harmless(text: str, *, annotations: bool = False) -> None:
    """Require that a terminal obeys nothing in the text, and a CI service no command but annotations of bncheck."""
    assert not set(text) & set(CONTROLS)
    commands = [line for line in text.split("\n") if line.lstrip().startswith("::")]
    assert [line for line in commands if not (annotations and ANNOTATION.match(line))] == []
    assert not re.search(r"##\w*\[", text)


def require_plain_markdown(text: str) -> None:
    """Require that Markdown has no HTML and no links, and that its tables have as many cells as headings."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    tokens += [child for token in tokens for child in token.children or ()]
    assert not {"html_block", "html_inline", "link_open", "image"} & {token.type for token in tokens}
    assert not any("https://" in token.content for token in tokens if token.type == "inline")


def texts(document: Any) -> Iterator[str]:
    """Yield the strings and keys of a JSON document."""
    if isinstance(document, dict):
        document = [*document, *document.values()]
    if isinstance(document, list):
        for item in document:
            yield from texts(item)
    elif isinstance(document, str):
        yield document


@pytest.mark.parametrize("kind", REPORTS)
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "latex"])
def test_no_format_obeys_what_a_report_quotes(name: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    stdio.write(FORMATS[name].show([REPORTS[kind]()], False))
    text = capsys.readouterr().out
    assert not set(text) & set(CONTROLS)
    if name == "json" and kind != "summary":
        assert any(HOSTILE in value for value in texts(json.loads(text)))
    elif name == "markdown":
        require_plain_markdown(text)
    elif name in ("junit", "svg"):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(text).iter()}
        assert not tags & {"script", "img", "a"}
    elif name == "html":
        assert Tags(text).found <= {"html", "head", "meta", "title", "body", "pre", "span"}
    if name not in ("html", "svg"):  # they are only saved
        require_harmless(text, annotations=name == "github")


def test_an_annotation_names_the_file_as_github_decodes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("::error::x.py").touch()
    (annotation, headline) = github([RunFailure("::error::x.py", "100 % wrong\n::set-output name=a::b")]).splitlines()
    assert annotation.startswith("::error file=%3A%3Aerror%3A%3Ax.py,line=1,title=%3A%3Aerror%3A%3Ax.py%3A run::")
    assert annotation.endswith("100 %25 wrong%0A::set-output name=a::b")
    assert headline == r"\x3a:error::x.py: 100 % wrong"


def test_a_terminal_shows_the_colors_of_bncheck_and_no_control_character_of_the_code_under_test() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, color_system="truecolor", legacy_windows=False)
    console.print(infected_check(), crop=False)
    text = re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue())
    assert len(text) < len(stream.getvalue())
    assert not set(text) & set(CONTROLS)


class UnescapedReport(Report):
    """A report that passes text on to rich without a page's ``text``."""

    @property
    def headline(self) -> str:
        return ""

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        table = page.table(HOSTILE)
        table.add_row(HOSTILE)
        return Text(HOSTILE), table


def test_every_block_of_a_report_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    stdio.write(FORMATS["table"].show([UnescapedReport()], False))
    require_harmless(capsys.readouterr().out)


def test_a_command_after_the_colors_of_a_terminal_is_escaped() -> None:
    assert escape_commands("\x1b[1m  \x1b[0m::error::x\n\n ::y a::b") == (
        "\x1b[1m  \x1b[0m\\x3a:error::x\n\n \\x3a:y a::b"
    )


@pytest.mark.parametrize("format_", ["table", "json", "markdown", "junit", "github"])
def test_the_report_of_a_hostile_row_file_is_harmless(format_: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [infected_row(0), infected_row(1, None), replace(infected_row(2), reproduce="'"), infected_row(3)]
    path.write_text("".join(row.to_json(HOSTILE) + "\n" for row in rows))
    result = CliRunner().invoke(main, ["report", str(path), "--format", format_])
    assert (result.exit_code, result.stderr) == (1, "")
    require_harmless(result.stdout, annotations=format_ == "github")


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", ARGUMENT], ["explain", ARGUMENT], ["guide", ARGUMENT], ["sweep", "--dask", ARGUMENT], [ARGUMENT],
        ["sweep", ARGUMENT], ["sweep", "--scheme", ARGUMENT], ["run", "--seed", ARGUMENT], ["run", f"{ARGUMENT}.x"],
        ["run", "--save", ARGUMENT], ["sweep", "--out", f"missing/{ARGUMENT}"], ["report", "--plot", ARGUMENT, "x"],
    ],
)  # fmt: skip
def test_an_error_message_is_harmless(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.output
    require_harmless(result.output)


def test_a_message_on_stderr_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    stdio.write_message(HOSTILE)
    text = capsys.readouterr().err
    require_harmless(text)
    assert text.startswith(
        r"\x3a:error::first \x00\x1b\r\x08\x07\x7f\x85\u2028\u202e\u2066\udc80\ud800 \x1b[31m <script>"
    )


def test_escaped_json_has_the_same_content() -> None:
    document = json.dumps({HOSTILE: [HOSTILE, "\\##[x]"]})
    assert json.loads(escape_json(document)) == json.loads(document)
    require_harmless(escape_json(document))


def test_a_command_with_a_hostile_word_runs_when_it_is_pasted_and_is_harmless() -> None:
    words = ["bncheck", "run", "::error::x.py", "##[error]y.py", "a\n::z.py"]
    lines = wrap_command(shlex.join(words), 12)
    require_harmless("\n".join(lines))
    script = "printf '%s\\0' " + "\n".join(lines)
    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.split("\0")[:-1] == words


@pytest.mark.parametrize("command", ["'", " ", "bncheck run '\ud800'"])
def test_a_command_that_no_shell_can_read_is_shown(command: str) -> None:
    require_harmless("\n".join(wrap_command(command, 40)))
