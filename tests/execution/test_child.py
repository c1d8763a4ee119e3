"""The code under test runs in a child process, which is stopped if it hangs."""

import os
import pickle
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bncheck import TargetError
from bncheck.checking.check import check_target
from bncheck.checking.in_process import OptionalStages
from bncheck.model.options import CheckOptions
from bncheck.model.problem import Problem
from tests.python_targets import CheckFile
from tests.samples import LAYERS, NETWORK, Sample, samples

pytestmark = pytest.mark.process


@pytest.mark.parametrize("sample", samples("hangs"), ids=str)
def test_a_call_that_hangs_is_terminated_soon_after_its_timeout(sample: Sample, check_file: CheckFile) -> None:
    started = time.monotonic()
    (message,) = sample.message_parts
    with pytest.raises(TargetError, match=re.escape(message)):
        check_file(sample.text, timeout=0.5)
    assert time.monotonic() - started < 0.5 + 5


@pytest.mark.parametrize("sample", samples("hangs_silently"), ids=str)
def test_a_silent_process_is_terminated_after_the_timeout_and_the_grace_period(
    sample: Sample, check_file: CheckFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bncheck.execution.child.GRACE_SECONDS", 1.0)
    started = time.monotonic()
    (message,) = sample.message_parts
    with pytest.raises(TargetError, match=re.escape(message)):
        check_file(sample.text, timeout=0.5)
    assert time.monotonic() - started < 0.5 + 1.0 + 5


def test_a_hanging_process_exits_at_its_timeout_if_its_parent_is_gone(tmp_path: Path, problem: Problem) -> None:
    (tmp_path / "layers.py").write_text("import time; time.sleep(30)\n", encoding="utf-8")
    script = "from bncheck.execution.child import main; main()"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin, child.stdout:
        stages = OptionalStages(edge_cases=False, explain=False, minimal_example=False)
        arguments = (str(tmp_path / "layers.py"), problem, CheckOptions(), stages)
        pickle.dump((check_target, arguments, 0.4), child.stdin)
        child.stdin.flush()
        # The next message would be the one about the timeout.
        assert pickle.load(child.stdout) == ("alive", None)
    try:
        assert child.wait(10) == 1
    finally:
        child.kill()


def test_bncheck_does_not_wait_for_processes_that_the_code_started(check_file: CheckFile) -> None:
    started = time.monotonic()
    check_file("import subprocess; subprocess.Popen(['sleep', '60'])\n" + LAYERS, edge_cases=False)
    check_file("import os, time\nif os.fork() == 0: time.sleep(60)\n" + LAYERS, edge_cases=False)
    assert time.monotonic() - started < 9  # less than the runtime of these processes


def test_output_of_the_code_under_test_goes_to_stderr(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text("import os; print('by Python'); os.system('echo by a shell')\n" + LAYERS, encoding="utf-8")
    options = ["--N", "4", "--D", "3", "--H", "2", "--format", "json"]
    command = [sys.executable, "-m", "bncheck", "run", str(path), *options]
    # As on most machines: what a program prints to a pipe waits in a buffer.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    completed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert completed.stdout.startswith("{")
    assert completed.stderr == "by Python\nby a shell\n"


def test_an_interrupted_check_of_a_file_reports_its_partial_result(tmp_path: Path) -> None:
    """Ctrl-C reaches the child a single time, and the parent receives the partial result."""
    path = tmp_path / "net.py"
    path.write_text(NETWORK, encoding="utf-8")
    script = (
        "import signal, sys, bncheck.cli.progress as progress; from bncheck.cli.main import main; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "progress.ProgressDisplay.update = lambda _, n, total: n and print('done', file=sys.stderr, flush=True); "
        "main(prog_name='bncheck')"
    )
    arguments = ["run", str(path), "--engine", "full", "--N", "300", "--D", "300", "--H", "50"]
    running = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    assert running.stderr.readline() == "done\n"
    running.send_signal(2)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "of 105,150 entries checked, none of them wrong" in " ".join(out.split())
    assert "Traceback" not in err
