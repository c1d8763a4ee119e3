"""The option ``--plot`` of ``bncheck sweep`` and ``bncheck report``."""

import itertools
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bncheck
from bncheck.sweeps.rows import Row
from tests.render.plots.plotting import FILE_SIGNATURES, OPTIONS, STEPS, invoke


def test_the_suffix_of_the_file_selects_the_format() -> None:
    pytest.importorskip("matplotlib")
    result = invoke("sweep", *OPTIONS, *STEPS, "--plot", "v.png", "--plot", "v.svg", "--plot", "V.PDF")
    assert result.exit_code == 0, result.output
    for name in ("v.png", "v.svg", "V.PDF"):
        assert Path(name).read_bytes().startswith(FILE_SIGNATURES[name[2:].lower()])


def test_a_report_on_parts_of_a_sweep_draws_the_same_plot_as_the_sweep() -> None:
    pytest.importorskip("matplotlib")
    command = ("sweep", *OPTIONS, *STEPS, "--scheme", "central,complex", "--out", "sweep.jsonl", "--plot", "sweep.svg")
    assert invoke(*command).exit_code == 0
    content = Path("sweep.jsonl").read_bytes().splitlines(keepends=True)
    random.Random(3).shuffle(content)
    for number in range(3):
        Path(str(number)).write_bytes(b"".join(content[5 * number : 5 * number + 6]))  # one row is in two files
    for name, files in (("one", ["sweep.jsonl"]), ("three", ["2", "0", "1"])):
        invoke("report", *files, "--plot", f"{name}.svg", "--plot", f"{name}.png", "--plot", f"{name}.pdf")
    for kind in FILE_SIGNATURES:
        assert Path(f"one.{kind}").read_bytes() == Path(f"three.{kind}").read_bytes()
    assert Path("one.svg").read_bytes() == Path("sweep.svg").read_bytes()


@pytest.mark.parametrize("command", [("sweep", *OPTIONS), ("report", "rows.jsonl")])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v.jpg", "Invalid value for '--plot': cannot tell a format from 'v.jpg'; use .png, .svg or .pdf"),
        ("v", "cannot tell a format from 'v'"),
        ("/nowhere/v.png", "cannot write /nowhere/v.png: No such file or directory"),
    ],
)
def test_a_plot_file_that_cannot_be_written_is_an_error_before_the_first_check(
    command: tuple[str, ...], name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    invoke("sweep", *OPTIONS, "--out", "rows.jsonl")
    monkeypatch.setattr("bncheck.cli.sweep_run.run_grid", None)
    monkeypatch.setattr("bncheck.sweeps.sweep_file.rows_of", None)
    result = invoke(*command, "--plot", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


class Broken:
    """Finds matplotlib, which then cannot be imported."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        del path, target
        if name.partition(".")[0] == "matplotlib":
            raise self.error


@pytest.mark.parametrize("command", [("sweep", *OPTIONS), ("report", "rows.jsonl")])
@pytest.mark.parametrize("error", [ModuleNotFoundError("no"), AttributeError("_ARRAY_API not found"), None])
def test_a_missing_or_broken_matplotlib_is_reported_with_the_command_that_installs_it(
    command: tuple[str, ...], error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("sweep", *OPTIONS, "--out", "rows.jsonl")
    modules = {"bncheck.render.plots.figure", "bncheck.render.plots.curves"}
    for name in [name for name in sys.modules if name in modules or name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    if error is None:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    else:
        monkeypatch.setattr(sys, "meta_path", [Broken(error), *sys.meta_path])
    monkeypatch.setattr("bncheck.cli.sweep_run.run_grid", None)
    result = invoke(*command, "--plot", "v.png")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: --plot requires matplotlib; install it with: pip install 'bncheck[plot]'\n"
    assert not Path("v.png").exists()
    for name in [name for name in sys.modules if name in modules]:  # half imported
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.process
@pytest.mark.parametrize(
    ("options", "loaded"), [((), []), (("--plot", "v.png", "--plot", "v.pdf", "--plot", "v.svg"), ["matplotlib"])]
)
def test_matplotlib_is_imported_only_for_a_plot_and_pyplot_never(options: tuple[str, ...], loaded: list[str]) -> None:
    if options:
        pytest.importorskip("matplotlib")
    script = (
        "import sys; from bncheck.cli.main import main; main(sys.argv[1:], standalone_mode=False); "
        "print([m for m in ('matplotlib', 'matplotlib.pyplot') if m in sys.modules])"
    )
    command = [sys.executable, "-c", script, "sweep", *OPTIONS, *options]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert completed.stdout.splitlines()[-1] == str(loaded)
    assert completed.stderr == ""


def test_a_plot_does_not_overwrite_rows_or_a_report() -> None:
    pytest.importorskip("matplotlib")
    invoke("sweep", *OPTIONS, "--out", "rows.svg")
    before = Path("rows.svg").read_bytes()
    for command in (("sweep", *OPTIONS, "--out", "rows.svg", "--resume"), ("report", "rows.svg")):
        result = invoke(*command, "--plot", "./rows.svg")
        assert result.exit_code == 2
        assert result.stderr == ("Error: --plot ./rows.svg would overwrite the rows in rows.svg; choose another file\n")
    result = invoke("sweep", *OPTIONS, "--save", "v.svg", "--plot", "./v.svg")
    assert result.stderr == "Error: --plot ./v.svg would overwrite --save v.svg; choose another file\n"
    assert Path("rows.svg").read_bytes() == before
    assert not Path("v.svg").exists()


def test_an_existing_plot_is_unchanged_until_a_new_one_is_complete() -> None:
    pytest.importorskip("matplotlib")
    Path("empty").touch()
    Path("old.png").write_bytes(b"older")
    result = invoke("report", "empty", "--plot", "old.png", "--plot", "new.png")
    assert result.exit_code == 2
    assert Path("old.png").read_bytes() == b"older"
    assert not Path("new.png").exists()
    invoke("sweep", *OPTIONS, "--out", "rows.jsonl", "--plot", "old.png")
    assert Path("old.png").read_bytes().startswith(FILE_SIGNATURES["png"])


def test_the_rows_of_an_interrupted_sweep_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    run_grid = bncheck.sweeps.runner.run_grid

    def interrupted(*arguments: Any, **options: Any) -> Iterator[Row]:
        yield from itertools.islice(run_grid(*arguments, **options), 4)
        raise KeyboardInterrupt

    monkeypatch.setattr("bncheck.cli.sweep_run.run_grid", interrupted)
    result = invoke("sweep", *OPTIONS, *STEPS, "--out", "rows.jsonl", "--plot", "v.svg")
    assert result.exit_code == 130
    assert "Interrupted after 4 of 8 checks" in result.stderr
    invoke("report", "rows.jsonl", "--plot", "again.svg")
    assert Path("v.svg").read_bytes() == Path("again.svg").read_bytes()
    assert len(json.loads(Path("rows.jsonl").read_text(encoding="utf-8").splitlines()[0])["gradients"]) == 6


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux device")
def test_a_plot_that_cannot_be_written_does_not_affect_the_other_files() -> None:
    pytest.importorskip("matplotlib")
    Path("full.png").symlink_to("/dev/full")
    result = invoke("sweep", *OPTIONS, "--plot", "full.png", "--plot", "v.png", "--save", "report.txt")
    assert result.exit_code == 2
    assert result.stderr == "Error: cannot write full.png: No space left on device\n"
    assert Path("v.png").read_bytes().startswith(FILE_SIGNATURES["png"])
    assert "PASS" in Path("report.txt").read_text(encoding="utf-8") or Path("report.txt").stat().st_size


@pytest.mark.parametrize(
    ("axis", "values"), [("--x-mean", "1,1e308"), ("--seed", f"1,2,{2**128}"), ("--x-std", "1,1e-300")]
)
def test_numbers_that_would_overflow_an_axis_are_spaced_evenly(axis: str, values: str) -> None:
    pytest.importorskip("matplotlib")
    result = invoke("sweep", *OPTIONS, axis, values, "--plot", "v.svg")
    assert result.stderr == ""
    assert Path("v.svg").exists()
