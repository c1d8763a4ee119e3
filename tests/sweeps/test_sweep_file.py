"""The row file of a sweep: resuming, refusing, and the files of older versions."""

import errno
import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import bncheck
from bncheck import InvalidInput, Verdict
from bncheck.sweeps.rows import Row
from bncheck.sweeps.sweep_file import SweepFile, rows_of
from tests.sweep_helpers import OPTIONS, count_lines, invoke, without_times

# Written by bncheck 0.1, with: sweep reference wrong.py raises.py --N 8 --D 5 --H 4 --step auto,1e-14
OLD_ROWS = Path(__file__).with_name("rows_of_bncheck_0_1.jsonl")
OLD_COMMAND = ("sweep", "reference", "wrong.py", "raises.py", *OPTIONS, "--step", "auto,1e-14")


def test_resume_skips_the_finished_rows_and_repeats_a_row_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    command = ("sweep", *OPTIONS, "--seed", "0..19", "--out", str(path))
    assert invoke(*command).exit_code == 0
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 20
    path.write_bytes(b"".join(lines[:7]) + lines[7][:100])
    resumed = invoke(*command, "--resume")
    assert resumed.exit_code == 0
    assert without_times(rows_of(path)) == without_times(Row.from_dict(json.loads(line)) for line in lines)
    assert path.read_bytes().startswith(b"".join(lines[:7]))
    assert "20: 20 pass" in resumed.stdout


def test_a_file_with_rows_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    invoke("sweep", *OPTIONS, "--out", str(path))
    before = path.read_bytes()
    result = invoke("sweep", *OPTIONS, "--out", str(path))
    assert result.exit_code == 2
    assert "already contains rows; add --resume to continue it, or choose another file" in result.stderr
    assert path.read_bytes() == before


def test_a_file_of_another_sweep_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    invoke("sweep", *OPTIONS, "--out", str(path))
    before = path.read_bytes()
    result = invoke("sweep", *OPTIONS, "--seed", "0..3", "--out", str(path), "--resume")
    assert result.exit_code == 2
    assert "belongs to another sweep (different axes or options); choose another file" in result.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("hello\n", "line 1 of .* is not a sweep row$"),
        ("[1]\n", "line 1 of .* is not a sweep row$"),
        ('{"schema": "bncheck-sweep/2", "N": 3}\n', "line 1 of .* is not a sweep row: 'target' is missing$"),
        ('{"schema": "bncheck-sweep/1", "N": 3}\n', "line 1 of .* is not a sweep row: 'gradients' is missing$"),
        ('{"schema": "bncheck/1"}\n', "is not a sweep row: the schema is 'bncheck/1', expected 'bncheck-sweep/2'$"),
    ],
)
def test_a_file_that_does_not_contain_rows_is_refused_and_not_changed(
    content: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content, encoding="utf-8")
    for command in (("sweep", *OPTIONS, "--out", str(path), "--resume"), ("report", str(path))):
        result = invoke(*command)
        assert result.exit_code == 2
        assert re.search(message, result.stderr)
        assert path.read_text(encoding="utf-8") == content


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a Linux device")
def test_a_full_disk_gives_a_one_line_error() -> None:
    result = invoke("sweep", *OPTIONS, "--out", "/dev/full")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert result.stderr.count("\n") == 1


def test_completed_keys_are_those_of_the_rows_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    file = SweepFile(path, "abc", list[Row]().append, resume=False)
    (row,) = bncheck.sweep(N=4, D=3, H=2)
    file.append(row)
    file.close()
    with pytest.raises(InvalidInput, match="another sweep"):
        SweepFile(path, "abd", list[Row]().append, resume=True)
    rows: list[Row] = []
    resumed = SweepFile(path, "abc", rows.append, resume=True)
    resumed.close()
    assert [read.point for read in rows] == [row.point]
    assert resumed.completed_keys == {row.point.key}


def test_rows_of_an_older_version_are_read_with_a_verdict_per_gradient() -> None:
    passed, inconclusive, failed, *_, could_not_run = rows_of(OLD_ROWS)
    assert [row.version for row in (passed, could_not_run)] == [None, None]
    assert {g.verdict for g in passed.gradients.values()} == {Verdict.PASS}
    assert (passed.gradients["db"].norm_relative_error, passed.gradients["db"].digits) == (None, math.inf)
    assert passed.gradients["dW"].relative_error_bound == 4.6e-10
    assert {g.verdict for g in inconclusive.gradients.values()} == {Verdict.INCONCLUSIVE}
    assert "resolution above 1e-03" in inconclusive.message
    assert (failed.wrong, failed.excluded, failed.verdict) == (32, 0, Verdict.FAIL)
    wrong = [key for key, g in failed.gradients.items() if g.verdict is not Verdict.PASS]
    assert wrong == ["batchnorm_backward.dx"]
    assert (could_not_run.verdict, could_not_run.gradients) == (None, {})
    assert "ZeroDivisionError" in could_not_run.message


def test_the_oldest_rows_have_three_numbers_per_gradient_and_no_notes(tmp_path: Path) -> None:
    content = json.loads(OLD_ROWS.read_text(encoding="utf-8").splitlines()[0])
    content["gradients"] = {key: numbers[:3] for key, numbers in content["gradients"].items()}
    del content["notes"]
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(content)}\n", encoding="utf-8")
    (row,) = rows_of(path)
    assert row.gradients["dW"].tolerance_ratio == 0.1545
    assert math.isnan(row.gradients["dW"].relative_error_bound)
    assert row.notes == ()


def test_a_report_shows_rows_of_an_older_version() -> None:
    result = invoke("report", str(OLD_ROWS))
    assert result.exit_code == 1
    assert re.search(r"^  reference +1\.6\? +10\.6$", result.stdout, re.MULTILINE)
    assert "6: 1 pass, 2 fail, 1 inconclusive, 2 could not run" in result.stdout
    rows = json.loads(invoke("report", str(OLD_ROWS), "--format", "json").stdout)["rows"]
    assert [(row["schema"], row["version"]) for row in rows] == [("bncheck-sweep/2", None)] * 6


@pytest.mark.process
def test_a_sweep_of_an_older_version_can_be_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = OLD_ROWS.read_text(encoding="utf-8").splitlines(keepends=True)
    for target in ("wrong.py", "raises.py"):  # their rows are in the file
        Path(target).touch()
    path = Path("rows.jsonl")
    path.write_text("".join([lines[0], *lines[2:]]), encoding="utf-8")
    result = invoke(*OLD_COMMAND, "--out", str(path), "--resume")
    assert "6: 1 pass, 2 fail, 1 inconclusive, 2 could not run" in result.stdout, result.stderr
    *old, new = rows_of(path)
    assert len(old) == 5
    assert (new.point.step, new.verdict, new.version) == (1e-14, Verdict.INCONCLUSIVE, bncheck.__version__)


def test_a_report_of_files_without_rows_is_refused(tmp_path: Path) -> None:
    shutil.copy(OLD_ROWS, tmp_path / "rows")
    (tmp_path / "empty").touch()
    assert "no rows in" in invoke("report", str(tmp_path / "empty")).stderr
    assert "cannot read" in invoke("report", str(tmp_path / "rows"), str(tmp_path / "missing")).stderr


def open_rows(path: Path, *, resume: bool = False) -> SweepFile:
    return SweepFile(path, "abc", list[Row]().append, resume=resume)


def test_a_second_sweep_is_refused_until_the_first_one_ends(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    first = open_rows(path)
    for resume in (False, True):
        with pytest.raises(InvalidInput, match=r"another sweep writes to .*rows\.jsonl; wait until it ends, or choose"):
            open_rows(path, resume=resume)
    assert path.exists()
    first.close()
    open_rows(path).close()


@pytest.mark.process
def test_a_crash_releases_the_lock_of_a_row_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    command = [sys.executable, "-m", "bncheck", "sweep", *OPTIONS, "--seed", "0..9999", "--out", str(path)]
    running = subprocess.Popen([*command, "--jobs", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while count_lines(path) < 3:
        time.sleep(0.01)
    assert "another sweep writes to" in invoke("sweep", *OPTIONS, "--out", str(path), "--resume").stderr
    running.kill()
    running.wait()
    assert "belongs to another sweep" in invoke("sweep", *OPTIONS, "--out", str(path), "--resume").stderr


def test_a_row_file_that_was_removed_when_its_sweep_ended_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    monkeypatch.setattr("bncheck.sweeps.sweep_file._is_locked_elsewhere", lambda _: path.unlink())
    with pytest.raises(InvalidInput, match="another sweep writes to"):
        open_rows(path)


def test_only_a_new_row_file_without_rows_is_removed(tmp_path: Path) -> None:
    new, old, link = tmp_path / "new", tmp_path / "old", tmp_path / "link"
    old.touch()
    link.symlink_to(tmp_path / "target")
    for path in (new, old, link):
        open_rows(path).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "old"]


def test_rows_are_synced_once_a_second_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, syncs = [0.0], list[float]()
    monkeypatch.setattr("bncheck.sweeps.sweep_file.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("bncheck.sweeps.sweep_file.os.fsync", lambda _: syncs.append(clock[0]))
    path = tmp_path / "rows.jsonl"
    (row,) = bncheck.sweep(N=4, D=3, H=2)
    file = open_rows(path)
    for clock[0] in (0.0, 0.5, 1.0, 1.1, 1.2, 2.0, 2.2):
        file.append(row)
    assert path.read_text(encoding="utf-8").count("\n") == 7
    file.close()
    assert syncs == [1.1, 2.2, 2.2]


def test_an_error_of_the_disk_at_the_end_is_reported_a_single_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("bncheck.sweeps.sweep_file.os.fsync", fail)
    path = tmp_path / "rows.jsonl"
    result = invoke("sweep", *OPTIONS, "--out", str(path))
    assert result.exit_code == 2
    assert result.stderr == f"Error: cannot write {path}: Input/output error\n"
    assert "1 pass" in result.stdout


def test_a_row_file_may_be_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    os.mkfifo(path)
    contents: list[bytes] = []
    reader = threading.Thread(target=lambda: contents.append(path.read_bytes()))
    reader.start()
    assert invoke("sweep", *OPTIONS, "--seed", "0..2", "--out", str(path)).exit_code == 0
    reader.join()
    assert contents[0].count(b"\n") == 3
