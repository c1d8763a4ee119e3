"""The code under test runs in a child process with limits, of which nothing survives."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bncheck import InvalidInput, TargetError, Verdict, random_problem
from bncheck.execution.limits import EXTRA_MEMORY_BYTES, Limits
from bncheck.model.memory import needed_bytes
from tests.python_targets import CheckFile
from tests.samples import LAYERS, NETWORK, Sample, changed, samples

BATCHNORM = "def batchnorm_forward(x, gamma, beta, bn_param):\n"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt its descendants")


@pytest.mark.process
@pytest.mark.parametrize("sample", samples("hangs"), ids=str)
def test_a_call_that_hangs_is_terminated_soon_after_its_time_limit(sample: Sample, check_file: CheckFile) -> None:
    started = time.monotonic()
    (message,) = sample.message_parts
    with pytest.raises(TargetError, match=re.escape(message)):
        check_file(sample.text, call_timeout=0.5)
    assert time.monotonic() - started < 0.5 + 5


@pytest.mark.process
def test_the_time_limit_of_a_target_covers_all_its_calls(check_file: CheckFile) -> None:
    slow = changed(LAYERS, "import numpy as np", "import time\nimport numpy as np")
    slow = changed(slow, BATCHNORM, BATCHNORM + "    time.sleep(0.6)\n")
    with pytest.raises(TargetError, match=r"layers.py was not checked within 1 s; allow more with `timeout`"):
        check_file(slow, timeout=1.0, edge_cases=False)


@pytest.mark.process
def test_a_limit_that_is_reached_at_an_edge_case_keeps_the_results_and_makes_no_code_fail(
    check_file: CheckFile,
) -> None:
    source = changed(LAYERS, "import numpy as np", "import time\nimport numpy as np")
    hangs = changed(source, BATCHNORM, BATCHNORM + "    if len(x) == 1: time.sleep(60)\n")
    result = check_file(hangs, call_timeout=0.5)
    assert all(g.verdict is Verdict.PASS for g in result.gradients.values())
    assert result.edge_cases[-1][:3] == (
        "one-row", Verdict.INCONCLUSIVE,
        ("batchnorm_forward did not return within 0.5 s; allow more with `call_timeout`",),
    )  # fmt: skip
    assert result.verdict is Verdict.INCONCLUSIVE
    crashes = changed(source, BATCHNORM, BATCHNORM + "    if len(x) == 1: import os; os.abort()\n")
    result = check_file(crashes)
    assert result.edge_cases[-1][1:3] == (Verdict.FAIL, (f"{result.target.name} was terminated by SIGABRT (abort)",))
    assert "edge cases" in [item.function for item in result.not_checked]


@pytest.mark.process
@on_linux
def test_a_target_that_uses_too_much_memory_is_terminated(check_file: CheckFile) -> None:
    grows = changed(LAYERS, BATCHNORM, BATCHNORM + "    while True: keep.append(np.ones(10**6))\n")
    with pytest.raises(TargetError, match=r"batchnorm_forward (used more than 0.3 GB of memory|raised \w*MemoryError)"):
        check_file(grows + "keep = []\n", memory="300MB")


@pytest.mark.process
def test_what_the_code_under_test_prints_is_counted_and_kept_up_to_a_limit(check_file: CheckFile) -> None:
    result = check_file("import os; print('by Python'); os.system('echo by a shell')\n" + LAYERS, edge_cases=False)
    assert result.printed == "by Python\nby a shell\n"
    (note,) = result.notes
    assert note == ("printed", "the code under test printed 2 lines; `show_output` shows the output")
    result = check_file(
        "print('x' * 99 + '\\n', end='', flush=True)\n" * 3 + "print('y' * 10**7)\n" + LAYERS, edge_cases=False
    )
    assert result.printed.startswith("x" * 99 + "\n")
    assert result.printed.endswith("\n... (the first 1,000,000 of 10,000,301 bytes)")
    assert "printed 4 lines" in result.notes[-1].message


@pytest.mark.process
def test_an_error_carries_what_the_code_printed_before_it(check_file: CheckFile) -> None:
    with pytest.raises(TargetError) as raised:
        check_file("print('before'); raise ValueError('no')")
    assert raised.value.printed == "before\n"


@pytest.mark.process
def test_the_command_shows_the_output_on_stderr_only_if_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text("print('::error::hello')\n" + LAYERS, encoding="utf-8")
    command = [sys.executable, "-m", "bncheck", "smoke", str(path)]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert completed.stderr == ""
    completed = subprocess.run([*command, "--show-output"], capture_output=True, text=True, check=True)
    assert completed.stderr == "\\x3a:error::hello\n"


@pytest.mark.process
def test_an_error_at_a_limit_names_the_option_of_the_command(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text("import time; time.sleep(60)\n", encoding="utf-8")
    command = [sys.executable, "-m", "bncheck", "smoke", str(path), "--call-timeout", "0.3"]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    error = f"Error: {path}: the import did not return within 0.3 s; allow more with --call-timeout\n"
    assert (completed.returncode, completed.stderr) == (2, error)


DAEMON = """
import os, subprocess, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "{seconds}"])
    os._exit(0)
subprocess.Popen(["sleep", "{seconds}"])
"""


@pytest.mark.process
@on_linux
def test_no_process_that_the_code_starts_outlives_the_command(tmp_path: Path) -> None:
    seconds = f"{1000 + os.getpid()}.5"
    path = tmp_path / "layers.py"
    path.write_text(DAEMON.format(seconds=seconds) + LAYERS, encoding="utf-8")
    for command in (["smoke", str(path)], ["sweep", str(path), "--N", "4,5", "--D", "3", "--H", "2", "--jobs", "2"]):
        subprocess.run([sys.executable, "-m", "bncheck", *command], capture_output=True, check=True)
        assert find_processes(seconds) == []


def find_processes(argument: str) -> list[str]:
    """Return the processes that have an argument."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended
            continue
        if argument in arguments:
            found.append(" ".join(arguments))
    return found


@pytest.mark.process
@on_linux
def test_a_child_that_holds_the_interpreter_ends_with_its_parent(tmp_path: Path) -> None:
    path = tmp_path / f"hang{os.getpid()}.py"
    path.write_text("import ctypes; print('x', flush=True); ctypes.PyDLL(None).sleep(60)\n", encoding="utf-8")
    running = subprocess.Popen([sys.executable, "-m", "bncheck", "smoke", str(path)])
    deadline = time.monotonic() + 30
    while len(find_processes(str(path))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    while find_processes(str(path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert find_processes(str(path)) == []


@pytest.mark.process
def test_bncheck_does_not_wait_for_processes_that_the_code_started(check_file: CheckFile) -> None:
    started = time.monotonic()
    check_file("import subprocess; subprocess.Popen(['sleep', '60'])\n" + LAYERS, edge_cases=False)
    check_file("import os, time\nif os.fork() == 0: time.sleep(60)\n" + LAYERS, edge_cases=False)
    assert time.monotonic() - started < 9  # less than the runtime of these processes


@pytest.mark.process
def test_an_interrupted_check_of_a_file_reports_its_partial_result(tmp_path: Path) -> None:
    """The forward pass has no ReLU, so that it is differentiated itself, by calls in the child."""
    path = tmp_path / "net.py"
    path.write_text(changed(NETWORK, "return np.maximum(y, 0), (", "return y, ("), encoding="utf-8")
    script = (
        "import bncheck.cli.progress as progress, sys; from bncheck.__main__ import main; "
        "progress.ProgressDisplay.update = lambda _, n, total: n and print('done', file=sys.stderr, flush=True); main()"
    )
    arguments = ["run", str(path), "--N", "300", "--D", "300", "--H", "50"]
    running = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    assert running.stderr.readline() == "done\n"
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "of 105,150 entries" in " ".join(out.split())
    assert "Traceback" not in err


def test_the_default_memory_is_what_the_problem_needs_and_a_constant() -> None:
    problem = random_problem(8, 5, 4)
    assert Limits.parse(1, 2, None, problem) == (1, 2, EXTRA_MEMORY_BYTES + needed_bytes(8, 5, 4))


@pytest.mark.parametrize(
    ("text", "size"), [("1GB", 10**9), ("1.5 gb", 1_500_000_000), ("500M", 5 * 10**8), ("2e9", 2 * 10**9), (4096, 4096)]
)
def test_a_memory_limit_has_a_unit_or_is_a_number_of_bytes(text: str | int, size: int) -> None:
    assert Limits.parse(1, 2, text, random_problem(2, 1, 1)).memory == size


@pytest.mark.parametrize("text", ["", "1XB", "-1GB", "0", "nan", "1e99GB", "GB"])
def test_a_memory_limit_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(f"memory must be a size such as 1.5GB or 500MB, got {text!r}")):
        Limits.parse(1, 2, text, random_problem(2, 1, 1))


@pytest.mark.parametrize("name", ["call_timeout", "timeout"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_time_limit_outside_its_range_is_refused(name: str, value: float) -> None:
    limits = {"call_timeout": 1.0, "timeout": 1.0, name: value}
    with pytest.raises(InvalidInput, match=f"^{name} must be a number of seconds above 0, at most 604,800, got"):
        Limits.parse(**limits, memory=None, problem=random_problem(2, 1, 1))


@pytest.mark.process
@on_linux
def test_a_child_that_is_being_started_is_not_taken_for_a_stray() -> None:
    script = """
import subprocess, sys, threading, time
from bncheck.execution import child_process, processes
processes.prepare_process()
start = subprocess.Popen
def start_slowly(*arguments, **options):
    process = start(*arguments, **options)
    thread = threading.Thread(target=processes.terminate_strays)
    thread.start()
    thread.join(0.3)
    return process
subprocess.Popen = start_slowly
child = child_process.ChildProcess("nowhere.py")
time.sleep(0.3)
print(child._process.poll())
child.terminate()
"""
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert completed.stdout == "None\n"
