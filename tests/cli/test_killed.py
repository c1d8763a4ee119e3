"""Commands as processes that are killed or interrupted: no process is left, no traceback, no lost or torn row."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.samples import LAYERS

pytestmark = pytest.mark.process

# Before the pipe is closed a signal may have a traceback: of Python, which starts.
START = "import os, sys; from bncheck.__main__ import main; os.close(int(sys.argv.pop(1))); main()"
# What the process of the tests may have inherited is undone: a background job ignores SIGINT.
DEFAULT_SIGNALS = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "signal.signal(signal.SIGHUP, signal.SIG_DFL)"
)
# A pipe ends when every process that inherited it has ended: workers, children, and the tracker of their resources.
TIMEOUT_SECONDS = 60
SMALL = ("--N", "8", "--D", "5", "--H", "4")
SWEEP = ("sweep", *SMALL, "--seed", "0..999999", "--out", "rows.jsonl", "--resume")
COMMANDS: tuple[Sequence[str], ...] = (
    ("run", *SMALL, "--save", "saved.json"),
    ("run", "--engine", "full", "--save", "saved.md"),
    ("run", "layers.py", *SMALL, "--save", "saved.xml"),
    ("sweep", "--N", "8,16", "--seed", "0..99", "--save", "saved.json"),
    (*SWEEP, "--jobs", "2"),
    ("smoke",),
    ("smoke", "layers.py", "--save", "saved.json"),
    ("selftest", "--problems", "1", "--jobs", "2", "--save", "saved.json"),
    ("derive",),
    ("explain", "BN204"),
    ("report", "old.jsonl", "--save", "saved.md"),
    ("template",),
    ("guide",),
)


def start(arguments: Sequence[str], directory: Path, prelude: str = DEFAULT_SIGNALS) -> subprocess.Popen[str]:
    """Start a command, after a prelude in the same process, and return it when it handles signals."""
    reader, writer = os.pipe()
    running = subprocess.Popen(
        [sys.executable, "-c", f"{prelude}; {START}", str(writer), *arguments], cwd=directory, pass_fds=[writer],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return running


def wait_for_rows(path: Path, running: subprocess.Popen[str]) -> None:
    while not (path.exists() and path.stat().st_size):
        assert running.poll() is None
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT, signal.SIGTERM])
def test_the_workers_of_a_sweep_end_with_it(number: signal.Signals, tmp_path: Path) -> None:
    running = start((*SWEEP, "--jobs", "2"), tmp_path)
    wait_for_rows(tmp_path / "rows.jsonl", running)
    running.send_signal(number)
    running.communicate(timeout=TIMEOUT_SECONDS)
    assert running.returncode == (143 if number == signal.SIGTERM else -number)


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_a_sweep_that_is_killed_and_resumed_loses_doubles_and_tears_no_row(kills: int, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1000)
    print(f"seed {seed}")  # pytest shows it if the test fails
    rng, path, finished = random.Random(seed), tmp_path / "rows.jsonl", set[int]()
    for number in range(kills):
        running = start((*SWEEP, "--jobs", "2"), tmp_path)
        if number % 2:
            wait_for_rows(path, running)
        time.sleep(rng.uniform(0, 2))
        running.kill()
        running.communicate(timeout=TIMEOUT_SECONDS)
        assert running.returncode == -signal.SIGKILL
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        seeds = [json.loads(line)["seed"] for line in lines]
        assert len(seeds) == len(set(seeds))
        assert finished <= set(seeds)
        finished = set(seeds)
    assert finished


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_second_signal_ends_a_command_and_its_workers_at_once(
    number: signal.Signals, jobs: str, tmp_path: Path
) -> None:
    # The first signal arrives in a critical section, which does not end.
    append = "lambda *_: (open('appending', 'w').close(), time.sleep(99))"
    prelude = f"import time; from bncheck.sweeps.sweep_file import SweepFile; SweepFile.append = {append}"
    running = start((*SWEEP, "--jobs", jobs), tmp_path, f"{DEFAULT_SIGNALS}; {prelude}")
    while not (tmp_path / "appending").exists():
        assert running.poll() is None
        time.sleep(0.01)
    for _ in range(2):
        time.sleep(0.2)  # signals that follow each other more quickly are one
        running.send_signal(number)
    out, err = running.communicate(timeout=TIMEOUT_SECONDS)
    assert (running.returncode, out, err) == (128 + number, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("package", ["click", "bncheck.cli.signals"])
def test_a_signal_during_the_first_imports_ends_the_command_with_one_line(
    package: str, number: signal.Signals, tmp_path: Path
) -> None:
    prelude = f"""{DEFAULT_SIGNALS}
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {package!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Finder())"""
    running = start(("run",), tmp_path, f"{prelude}\npass")
    out, err = running.communicate(timeout=TIMEOUT_SECONDS)
    assert (running.returncode, out, err) == (128 + number, "", "Interrupted before any result.\n")


def test_nohup_is_respected(tmp_path: Path) -> None:
    running = start(SWEEP, tmp_path, "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    wait_for_rows(tmp_path / "rows.jsonl", running)
    size = (tmp_path / "rows.jsonl").stat().st_size
    running.send_signal(signal.SIGHUP)
    while (tmp_path / "rows.jsonl").stat().st_size <= size + 100_000:
        assert running.poll() is None
    running.kill()
    running.communicate(timeout=TIMEOUT_SECONDS)


@pytest.mark.parametrize("count", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_a_signal_at_any_moment_of_any_command_has_no_traceback_and_leaves_no_empty_file(
    count: int, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(1000)
    print(f"seed {seed}")  # pytest shows it if the test fails
    rng = random.Random(seed)
    (tmp_path / "layers.py").write_text(LAYERS, encoding="utf-8")
    old = ("sweep", *SMALL, "--seed", "0..9", "--out", "old.jsonl")
    start(old, tmp_path).communicate(timeout=TIMEOUT_SECONDS)
    for _ in range(count):
        arguments, repeats = rng.choice(COMMANDS), rng.choice((1, 1, 1, 2))
        number, delay = rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)), rng.uniform(0, 1)
        running = start(arguments, tmp_path)
        for _ in range(repeats):
            time.sleep(delay)
            running.send_signal(number)
            delay = rng.uniform(0, 0.5)
        _, err = running.communicate(timeout=TIMEOUT_SECONDS)
        case = (arguments, number.name, repeats, err)
        # -number: Python, which ends, no longer handles signals; for a shell this is 128 + number as well.
        assert running.returncode in (0, 128 + number, -number), case
        assert "Traceback" not in err, case
        assert "Error" not in err, case
        for path in tmp_path.glob("saved.*"):
            assert repeats > 1 or path.stat().st_size, case
            path.unlink()
