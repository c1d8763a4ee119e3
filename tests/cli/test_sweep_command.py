"""``bncheck sweep``: its options, its output, and early ends."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bncheck.sweeps.runner import run_grid
from bncheck.sweeps.sweep_file import rows_of
from tests.sweep_helpers import OPTIONS, count_lines, invoke, small_grid, without_times


def test_jsonl_writes_only_one_row_per_line_to_stdout() -> None:
    result = invoke("sweep", *OPTIONS, "--seed", "0..4", "--format", "jsonl")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["seed"] for row in rows] == [0, 1, 2, 3, 4]
    assert result.stderr == ""


def test_the_reproduce_command_runs_the_same_sweep() -> None:
    arguments = ["--N", "4,9", "--D", "3", "--H", "2", "--seed", "0..3", "--step", "1e-3..1e-5/2", "--only", "dW"]
    text = invoke("sweep", *arguments).stdout
    command = " ".join(text[text.index("bncheck sweep") :].replace("\\\n", " ").split())
    repeated = invoke(*command.split()[1:]).stdout
    assert re.sub(r"\d+\.\d s", "", repeated) == re.sub(r"\d+\.\d s", "", text)


def test_a_list_that_starts_with_0_is_not_a_range_of_decades() -> None:
    result = invoke("sweep", *OPTIONS, "--x-mean", "0,1,100")
    assert result.exit_code == 0, result.stderr
    assert "--x-mean 0,1,100" in " ".join(result.stdout.split())


def start(path: Path, seeds: str, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bncheck", "sweep", *OPTIONS, "--seed", seeds, "--out", str(path), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.process
@pytest.mark.parametrize(("checks", "kills"), [(300, 3), pytest.param(2000, 10, marks=pytest.mark.slow)])
def test_a_sweep_that_is_killed_and_resumed_has_the_rows_of_an_uninterrupted_one(
    checks: int, kills: int, tmp_path: Path
) -> None:
    path, rng = tmp_path / "rows.jsonl", random.Random(7)
    for moment in sorted(rng.sample(range(checks), kills)):
        running = start(path, f"0..{checks - 1}", "--resume")
        while running.poll() is None and count_lines(path) <= moment:
            time.sleep(0.001)
        running.kill()
        running.communicate()
    finished = start(path, f"0..{checks - 1}", "--resume")
    finished.communicate()
    assert finished.returncode == 0
    rows = list(rows_of(path))
    assert len(rows) == checks
    assert without_times(rows) == without_times(run_grid(small_grid(seed=tuple(range(checks)))))


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupted_sweep_shows_its_rows_and_how_to_resume(
    number: signal.Signals, jobs: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    script += "from bncheck.cli.main import main; main()"
    command = ["sweep", *OPTIONS, "--seed", "0..99999", "--out", str(path), "--jobs", jobs]
    running = subprocess.Popen(
        [sys.executable, "-c", script, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while running.poll() is None and count_lines(path) < 20:
        time.sleep(0.01)
    if number == signal.SIGINT:
        os.killpg(running.pid, number)  # to the workers as well, as a terminal does
    else:
        running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 128 + number
    assert "Traceback" not in err, err
    assert re.search(r"Interrupted after [\d,]+ of 100,000 checks\. Resume with: bncheck sweep ", err)
    assert f"--out {path} --resume" in err
    assert f"{len(list(rows_of(path))):,} pass" in out


@pytest.mark.slow
@pytest.mark.process
def test_memory_does_not_grow_with_the_number_of_checks() -> None:
    peaks = []
    for last in (199, 19_999):
        command = [sys.executable, "-m", "bncheck", "sweep", "--N", "4", "--D", "3", "--H", "2", "--seed", f"0..{last}"]
        script = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        peaks.append(
            int(subprocess.run([sys.executable, "-c", script, *command], capture_output=True, check=True).stdout)
        )
    assert peaks[1] < 1.2 * peaks[0]
