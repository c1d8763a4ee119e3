"""The README is true: what it shows is what the commands print."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from bncheck.cli.main import main
from bncheck.guide import read_topic, topic_names
from tests.readme import README, ROOT, blocks, commands


def masked(text: str) -> str:
    """Replace measured digits, times and places, and the width they take; counts and words stay."""
    text = re.sub(r"^  max rel\. .*\n", "", text, flags=re.MULTILINE)  # which entry it is, and whether it is told
    text = re.sub(r"\[[\d, ]+\]", "[*]", text)
    return re.sub(r"[ <█]*-?(\d(\.\d+)?e[+-]\d+|\d+ %|\d+\.\d+( s)?)", " *", text).strip()


def shown() -> list[tuple[str, str]]:
    """Return the commands of console blocks, each with the output that stands under it."""
    found = [re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)[1:] for block in blocks("console")]
    return [pair for parts in found for pair in zip(parts[::2], parts[1::2], strict=True)]


@pytest.fixture(scope="module")
def shown_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the files that the README shows, or whose making it shows."""
    folder = tmp_path_factory.mktemp("readme")
    for block in blocks("python"):
        name = re.match(r"# (\w+\.py)\n", block)  # a file; the other blocks are of a session
        if name:
            (folder / name[1]).write_text(block, encoding="utf-8")
    for file in ("rows.jsonl", "many.jsonl"):
        options = ["--N", "8", "--D", "5", "--H", "4", "--seed", "0..99", "--out", str(folder / file)]
        CliRunner().invoke(main, ["sweep", *options])
    template = CliRunner().invoke(main, ["template"]).stdout
    (folder / "my_layers.py").write_text(template, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _beside_them(shown_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of copies."""
    shutil.copytree(shown_files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def test_the_readme_has_something_to_test() -> None:
    assert len(shown()) >= 3
    assert len(commands()) >= 10
    assert all(commands(read_topic(name).text) for name in topic_names())


@pytest.mark.process
@pytest.mark.parametrize(("command", "output"), shown())
def test_a_command_prints_what_the_readme_shows(command: str, output: str) -> None:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, shlex.split(command)[1:])
    assert masked(result.stdout) == masked(output)


@pytest.mark.process
@pytest.mark.parametrize(
    ("command", "code"), [*commands(), *(pair for name in topic_names() for pair in commands(read_topic(name).text))]
)
def test_a_command_of_the_readme_or_the_guide_exits_with_the_code_of_its_comment(command: str, code: int) -> None:
    if "--plot" in command:
        pytest.importorskip("matplotlib")
    words, _, file = command.partition(" > ")
    if "--resume" not in words:
        for out in re.findall(r"--out (\S+)", words):
            Path(out).unlink()
    result = CliRunner().invoke(main, shlex.split(words)[1:])
    assert result.exit_code == code, result.output
    assert not file or Path(file).read_text(encoding="utf-8") == result.stdout


def test_the_python_example_runs() -> None:
    names: dict[str, object] = {}
    for block in sorted(block for block in blocks("python") if not re.match(r"# \w+\.py\n", block))[::-1]:
        exec(block, names)
    assert str(names["result"]).startswith("PASS")
    assert str(getattr(names["row"], "verdict", "")) == "Verdict.PASS"


def test_ci_runs_the_readme_s_test_command() -> None:
    (command,) = re.findall(r"```sh\n(.*pytest)\n```", README)
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
