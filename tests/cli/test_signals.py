"""Interruptions: partial results, exit codes, and critical sections."""

import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from bncheck.cli import signals
from bncheck.cli.main import main

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.process
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_check_reports_the_entries_that_were_checked(number: signal.Signals, code: int) -> None:
    arguments = ["run", "--engine", "full", "--N", "300", "--D", "300", "--H", "50"]
    # Progress is printed for every entry, so that the signal arrives between two entries.
    script = (
        "import signal, sys; from bncheck.cli.main import main; from bncheck.cli.progress import ProgressDisplay; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # a background job ignores SIGINT
        "ProgressDisplay.update = lambda *_: print('done', file=sys.stderr, flush=True); main(prog_name='bncheck')"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    assert running.stderr.readline() == "done\n"
    running.send_signal(number)
    out, err = running.communicate(timeout=30)
    assert running.returncode == code
    assert "of 120,150 entries" in " ".join(out.split())
    assert "PASS" not in out
    assert err.replace("done\n", "").startswith("Interrupted after ")
    assert "Traceback" not in err


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interruption_that_compiled_code_turns_into_another_exception_is_recognized(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace_interrupt(*_: object, **__: object) -> None:  # as numpy does when it compares structures
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise TypeError("Cannot compare structured arrays") from None

    monkeypatch.setattr("bncheck.cli.checks.check", replace_interrupt)
    previous = signal.signal(number, signal.default_int_handler)  # the process of the tests may ignore it
    try:
        result = CliRunner().invoke(main, ["run"], prog_name="bncheck")
    finally:
        signal.signal(number, previous)
    assert result.exit_code == 128 + number
    assert result.stderr == "Interrupted.\n"


def test_an_interruption_before_any_result_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bncheck.model.problem.random_problem", interrupt)
    result = CliRunner().invoke(main, ["run"], prog_name="bncheck")
    assert (result.exit_code, result.stderr) == (130, "Interrupted before any result.\n")


def interrupt_within_section(number: int, finished: list[str] | None = None, repeats: int = 1) -> None:
    with signals.defer_signals():
        for _ in range(repeats):
            os.kill(os.getpid(), number)
        if finished is not None:
            finished += ["file", "summary"]


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interruption_is_deferred_to_the_end_of_a_critical_section(number: signal.Signals) -> None:
    previous, finished = signal.signal(number, signal.default_int_handler), list[str]()
    try:
        with signals.handle_signals(), pytest.raises(KeyboardInterrupt):
            interrupt_within_section(number, finished)
    finally:
        signal.signal(number, previous)
    assert finished == ["file", "summary"]
    assert signals.received_signals == [number]


@pytest.mark.parametrize(("seconds", "ended"), [(0.01, []), (0.2, [signal.SIGTERM])])
def test_a_second_signal_ends_the_process_unless_it_follows_at_once(
    seconds: float, ended: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    times, ended_with = iter((5.0, 5.0 + seconds)), list[int]()
    monkeypatch.setattr("bncheck.cli.signals.time.monotonic", lambda: next(times))
    monkeypatch.setattr("bncheck.cli.signals.end_process", ended_with.append)
    previous = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with signals.handle_signals(), pytest.raises(KeyboardInterrupt):
            interrupt_within_section(signal.SIGTERM, repeats=2)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert ended_with == ended


def test_an_interruption_that_python_dropped_in_a_destructor_is_raised_after_the_next_section(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Interrupting:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with signals.handle_signals():
            instance = Interrupting()
            del instance  # Python drops the KeyboardInterrupt
            with pytest.raises(KeyboardInterrupt), signals.defer_signals():
                assert signals.received_signals == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, previous)
    assert capsys.readouterr().err == ""


@pytest.mark.process
def test_a_thread_that_loses_its_workers_prints_no_traceback_while_the_process_ends() -> None:
    script = """
import threading
from bncheck.cli import signals
def fail_in_thread():
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
signals.terminate_children = fail_in_thread
signals.end_process(15)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (143, "")


@pytest.mark.process
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_python_ends_does_not_change_the_exit_code(number: signal.Signals) -> None:
    script = f"""
import builtins, os, sys
from bncheck.__main__ import main
class Signaling:
    def __del__(self, kill=os.kill, pid=os.getpid()):
        kill(pid, {int(number)})
builtins.signaling = Signaling()
sys.argv = ["bncheck", "explain", "BN999"]
main()
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
