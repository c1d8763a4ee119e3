"""The registry of child processes, and the descendants that Linux gives back to bncheck."""

import subprocess
import sys

import pytest

from bncheck.execution import processes

pytestmark = pytest.mark.process
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="prctl and /proc exist on Linux only")

# Each starts a process that sleeps for a minute with stdout open: the pipe ends when all of them have ended.
CHILD = "import subprocess, sys; subprocess.Popen(['sleep', '60']); print('started', flush=True); sys.stdin.read()"
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("started", flush=True)
        time.sleep(60)
    os._exit(0)
os.wait()
"""


def test_terminate_all_terminates_the_process_groups_that_are_registered() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    processes.register(child.pid)
    processes.terminate_all()
    assert child.communicate(timeout=20)[0] == ""
    assert child.returncode == -9


def test_a_process_that_is_unregistered_goes_on() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input(); print('done')"], stdin=-1, stdout=-1, text=True)
    processes.register(child.pid)
    processes.unregister(child.pid)
    processes.terminate_all()
    assert child.communicate("\n", timeout=20)[0] == "done\n"


def run_script(script: str, *arguments: str) -> str:
    prelude = f"import ctypes, subprocess, sys\nfrom bncheck.execution import processes\n{script}"
    command = [sys.executable, "-c", prelude, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


@on_linux
def test_a_process_that_left_its_session_and_its_parent_is_terminated_as_a_stray() -> None:
    script = """
processes.prepare_process()
kept = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
processes.register(kept.pid)
processes.register(kept.pid)
daemon = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
assert daemon.stdout.readline() == "started\\n"
daemon.wait()
processes.terminate_strays()
print(repr(daemon.stdout.read()), kept.poll())
kept.kill()
"""
    assert run_script(script, DAEMON) == "'' None\n"


@on_linux
def test_a_prepared_process_adopts_descendants_and_is_not_dumpable() -> None:
    script = """
get_dumpable, get_subreaper, subreaper = 3, 37, ctypes.c_int()
processes.prepare_process()
ctypes.CDLL(None).prctl(get_subreaper, ctypes.byref(subreaper))
print(subreaper.value, ctypes.CDLL(None).prctl(get_dumpable))
"""
    assert run_script(script) == "1 0\n"


@on_linux
def test_a_process_that_ends_terminates_every_child_but_the_tracker_of_resources() -> None:
    script = """
from multiprocessing import resource_tracker
processes.prepare_process()
resource_tracker.ensure_running()
daemon = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
assert daemon.stdout.readline() == "started\\n"
processes.terminate_children()
print(repr(daemon.stdout.read()), resource_tracker._resource_tracker._check_alive())
"""
    assert run_script(script, DAEMON) == "'' True\n"
