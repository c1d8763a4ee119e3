"""Code under test that misbehaves: every check ends with a message, and no process is left."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bncheck.targets.arrays import as_float64, unreadable
from tests.samples import BATCHNORM

pytestmark = pytest.mark.process

IMPORTS = "import atexit, ctypes, mmap, os, re, resource, signal, subprocess, sys, threading, time\n"
DID_NOT_RETURN = "did not return within 1 s; allow more with --call-timeout"
GROW = "kept = []\n    while True: kept.append(b'x' * 10**7)"
DAEMON = """if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: time.sleep(1000)
        os._exit(0)
    os.wait()"""


def in_call(body: str) -> str:
    """Return code that runs before each forward call."""
    head = "original = batchnorm_forward\ndef batchnorm_forward(x, gamma, beta, bn_param):"
    return f"{head}\n    {body}\n    return original(x, gamma, beta, bn_param)\n"


def returned(expression: str) -> str:
    """Return code that replaces the output ``out`` of each forward call."""
    return in_call(f"out, cache = original(x, gamma, beta, bn_param)\n    return {expression}, cache")


def array_that(statement: str) -> str:
    return f"class A:\n    def __array__(self, *_, **__): {statement}\n" + returned("A()")


def exception_that(statement: str) -> str:
    return f"class E(Exception):\n    def __str__(self): {statement}\n" + in_call("raise E")


# Name, code, and a part of the error message; an empty message: the check passes.
HANGS = [
    ("import", "time.sleep(1000)", "the import " + DID_NOT_RETURN),
    ("call", in_call("time.sleep(1000)"), "batchnorm_forward " + DID_NOT_RETURN),
    ("array", array_that("time.sleep(1000)"), "batchnorm_forward " + DID_NOT_RETURN),
    ("exception", exception_that("time.sleep(1000)"), "batchnorm_forward " + DID_NOT_RETURN),
    ("module_dir", "def __dir__(): time.sleep(1000)", "reading its attributes " + DID_NOT_RETURN),
    ("regular_expression", in_call("re.match('(a+)+$', 'a' * 60 + 'b')"), DID_NOT_RETURN),
    ("power", in_call("10 ** 10 ** 9"), DID_NOT_RETURN),
    ("interpreter_lock", in_call("ctypes.PyDLL(None).sleep(1000)"), DID_NOT_RETURN),
    ("stopped", in_call("os.kill(os.getpid(), signal.SIGSTOP)"), DID_NOT_RETURN),
    ("output", in_call("while True: print('x' * 1000)"), DID_NOT_RETURN),
    ("fork", in_call("os.fork(); time.sleep(1000)"), DID_NOT_RETURN),
    ("program", in_call("os.execv('/bin/sleep', ['sleep', '1000'])"), DID_NOT_RETURN),
]
FORKED_POOL = """import multiprocessing
big = np.ones(10**7)
pool = multiprocessing.get_context("fork").Pool(4)
""" + in_call("hasattr(sys, 'waited') or (pool.map(abs, range(4)), time.sleep(0.3), setattr(sys, 'waited', True))")
MEMORY = [
    ("call", in_call(GROW), "batchnorm_forward used more than 0.3 GB of memory, the limit; allow more with --memory"),
    ("import", "if True:\n    " + GROW, "the import used more than 0.3 GB of memory"),
    (
        "shared",
        in_call("m = mmap.mmap(-1, 10**9)\n    for i in range(0, 10**9, 4096): m[i] = 1"),
        "used more than 0.3 GB",
    ),
    ("one_array", in_call("np.ones(10**9)"), "raised MemoryError: Unable to allocate"),
    ("pages_shared_by_forks", FORKED_POOL, ""),  # 5 processes of 80 MB each, which are the same pages
    ("forked", in_call(f"if os.fork():\n        os.wait(); time.sleep(20)\n    {GROW}"), "used more than 0.3 GB"),
]
ENDS = [
    ("exit_0", "os._exit(0)", "exited with code 0"),
    ("exit_255_in_call", in_call("os._exit(255)"), "exited with code 255"),
    ("daemon_and_exit", "subprocess.Popen(['setsid', 'sleep', '1000'])\nos._exit(0)", "exited with code 0"),
    ("no_builtins", "import builtins\nbuiltins.len = builtins.tuple = None", "see what it printed with --show-output"),
    ("long_exit", in_call("sys.exit('x' * 10**6)"), "batchnorm_forward called sys.exit('xxx"),
    (
        "exit_code_raises",
        "class A:\n    def __repr__(self): 1/0\n" + in_call("sys.exit(A())"),
        "an exception that cannot be described",
    ),
    ("segmentation_fault", in_call("ctypes.string_at(0)"), "was terminated by SIGSEGV (segmentation fault)"),
    ("abort", in_call("os.abort()"), "was terminated by SIGABRT (abort)"),
    ("real_time_signal", in_call("os.kill(os.getpid(), signal.SIGRTMIN + 1)"), "was terminated by signal"),
    ("alarm", in_call("signal.setitimer(signal.ITIMER_REAL, 0.1); time.sleep(10)"), "was terminated by SIGALRM"),
    ("descriptors", "os.closerange(3, 256)", "closed a file descriptor that it did not open"),
    ("all_descriptors", "os.closerange(0, 256)", "closed a file descriptor that it did not open"),
    ("recursion", "def f(): f()\n" + in_call("f()"), "raised RecursionError"),
    ("message_exits", exception_that("raise SystemExit(0)"), "raised E: (its message cannot be read)"),
    ("message_interrupts", exception_that("raise KeyboardInterrupt"), "raised E: (its message cannot be read)"),
    ("long_message", in_call("raise ValueError('x' * 10**8)"), "xxx..."),
    ("long_exception_name", in_call("raise type('E' * 10**7, (Exception,), {})"), "EEE..."),
    ("long_names", "for i in range(9): globals()['f' * 10**6 + str(i)] = 1", "have more than 4 MB; shorten them"),
    ("array_exits", array_that("raise SystemExit(3)"), "batchnorm_forward called sys.exit(3)"),
    ("array_interrupts", array_that("raise KeyboardInterrupt"), "raised KeyboardInterrupt"),
    ("invalid_name_error", "e = NameError('x')\ne.name = []\nraise e", "raised an exception that cannot be described"),
    ("coroutine", "async def batchnorm_forward(x, gamma, beta, bn_param): pass", "returned a coroutine"),
]
PASSES = [
    ("prints", in_call("print('forward', file=sys.stderr)"), ""),
    ("output_of_100_MB", "sys.stdout.write('x' * 10**8)", ""),
    ("program_with_100_MB", "subprocess.run(['head', '-c', '100000000', '/dev/zero'])", ""),
    ("daemon", "if True:\n    " + DAEMON, ""),
    ("programs", in_call("subprocess.Popen(['sleep', '1000'])"), ""),
    ("threads", "for _ in range(20): threading.Thread(target=time.sleep, args=(1000,)).start()", ""),
    ("forked_copy", "os.fork()", ""),
    ("forked_copy_in_call", in_call("os.fork()"), ""),
    ("atexit", "atexit.register(time.sleep, 1000)", ""),
    ("directory", "import tempfile\nd = tempfile.mkdtemp()\nos.chdir(d)\nos.rmdir(d)", ""),
    ("umask", "os.umask(0o777)\nos.nice(19)\nos.environ.clear()\nsys.path.clear()", ""),
    ("closed_streams", "os.closerange(0, 3)\nsys.stdout = sys.stderr = None", ""),
    (
        "limits",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\nresource.setrlimit(resource.RLIMIT_DATA, (1, 1))",
        "",
    ),
    ("trace", "sys.settrace(lambda *_: None)\nsys.setswitchinterval(1000)", ""),
    ("long_double", returned("out.astype(np.longdouble)"), ""),
    ("masked", returned("np.ma.masked_array(out, out > 0)"), ""),
    ("lists", returned("out.tolist()"), ""),
    ("removed_module", "del sys.modules[__name__]", ""),
    ("many_functions", "for i in range(10_000): exec(f'def f{i}(x): return x')", ""),
    ("star", "from numpy import *", ""),
]


def count_marked(mark: str) -> int:
    """Return the number of processes whose environment contains a text."""
    count = 0
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            count += mark.encode() in file.read_bytes()
        except OSError:  # it has ended
            continue
    return count


@pytest.mark.skipif(sys.platform != "linux", reason="Linux gives descendants back to bncheck, and has /proc")
@pytest.mark.parametrize(
    ("cases", "options"),
    [
        (HANGS, ["--call-timeout", "1"]), (MEMORY, ["--memory", "300MB"]), (ENDS, []), (PASSES, []),
    ],
    ids=["hangs", "memory", "ends", "passes"],
)  # fmt: skip
def test_each_hostile_file_ends_with_its_message_and_leaves_no_process(
    cases: list[tuple[str, str, str]], options: list[str], tmp_path: Path
) -> None:
    for name, code, _ in cases:
        (tmp_path / f"{name}_case.py").write_text(
            f"{IMPORTS}import numpy as np\n{BATCHNORM}\n{code}\n", encoding="utf-8"
        )
    files = [f"{name}_case.py" for name, _, _ in cases]
    mark = f"hostile-{os.getpid()}-{tmp_path.name}"
    finished = subprocess.run(
        [sys.executable, "-m", "bncheck", "run", *files, "--N", "4", "--D", "3", "--H", "2", "--no-edge-cases",
         *options],
        cwd=tmp_path, env={**os.environ, "BNCHECK_MARK": mark, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert count_marked(mark) == 0
    assert "Traceback" not in finished.stderr
    errors = {}
    for block in ("\n" + finished.stderr).split("\nError: ")[1:]:
        file = block[: block.index(".py") + 3]
        errors[file] = block
    wrong = {f: errors.get(f, "") for f, (_, _, part) in zip(files, cases, strict=True) if not part and f in errors}
    wrong |= {
        f: errors.get(f, "") for f, (_, _, part) in zip(files, cases, strict=True) if part not in errors.get(f, "")
    }
    assert not wrong
    assert sorted(os.listdir(tmp_path)) == sorted(files)
    expected = {2 if part else 0 for _, _, part in cases}
    assert finished.returncode == (expected.pop() if len(expected) == 1 else 1)  # 1: some could not run


def test_an_array_that_is_reported_as_too_large_in_the_expected_shape_is_a_defect_and_not_an_internal_error() -> None:
    values, defect = as_float64("dx", unreadable("float64", (3,), is_too_large=True), (3,))
    assert np.isnan(values).all()
    assert defect == "dx is float64, expected real numbers of shape (3,)"
