"""A sweep on a Dask cluster: the same rows, whichever workers crash or join, and an error for each failure."""

import json
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import bncheck
from bncheck.cli.main import main
from bncheck.execution.dask_pool import _PicklableCall
from bncheck.sweeps.grid import SweepPoint
from tests.readme import README
from tests.sweep_helpers import OPTIONS, count_lines, lines_without_times

pytestmark = pytest.mark.cluster

BATCHNORM = """
import numpy as np
from parts.roots import root

def batchnorm_forward(x, gamma, beta, bn_param):
    centred = x - x.mean(axis=0)
    std = root((centred * centred).mean(axis=0) + bn_param["eps"])
    xhat = centred / std
    return gamma * xhat + beta, (xhat, gamma, std)

def batchnorm_backward(dout, cache):
    xhat, gamma, std = cache
    g = dout * gamma
    return (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / std, (dout * xhat).sum(axis=0), dout.sum(axis=0)
"""


class Cluster:
    """A scheduler and its workers, each in its own process on this machine."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, file = folder, folder / "scheduler.json"
        self.scheduler_file = ("--scheduler-file", file)
        self.environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment}
        self.processes = [self._start("scheduler", "", "--host", "127.0.0.1", "--port", "0", *self.scheduler_file)]
        wait_until(lambda: file.exists() and file.stat().st_size)
        self.address = str(json.loads(file.read_text())["address"])

    def _start(self, kind: str, before: str, *options: object) -> "subprocess.Popen[bytes]":
        script = f"{before}; from distributed.cli.dask_{kind} import main; main()"
        command = [sys.executable, "-c", script.lstrip("; "), *map(str, options), "--no-dashboard"]
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, env=self.environment, cwd=self.folder, start_new_session=True
            )

    def start_workers(self, count: int = 1, before: str = "", nanny: bool = False) -> "list[subprocess.Popen[bytes]]":
        """Start workers and wait until they have joined; each runs the statement ``before`` first."""
        no_nanny = () if nanny else ("--no-nanny",)
        expected = self.count_joined() + count
        options = ("--nthreads", "1", "--local-directory", self.folder / "work", *no_nanny, *self.scheduler_file)
        new = [self._start("worker", before, *options) for _ in range(count)]
        self.processes += new
        wait_until(lambda: self.count_joined() >= expected)
        return new

    def count_joined(self) -> int:
        return (self.folder / "log.txt").read_bytes().count(b"Registered to:")

    def sweep(self, *options: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "bncheck", "sweep", *OPTIONS, *options, "--dask", self.address]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder)


@contextmanager
def start_cluster(folder: Path, **environment: str) -> Iterator[Cluster]:
    started = Cluster(folder, **environment)
    try:
        yield started
    finally:
        for process in started.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers, shared by the tests in which none crashes."""
    pytest.importorskip("distributed")
    with start_cluster(tmp_path_factory.mktemp("cluster")) as started:
        started.start_workers(2)
        yield started


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{seconds:g} s were not enough"
        time.sleep(0.02)


def run_locally(path: Path, *options: str) -> list[str]:
    """Return the rows of a sweep in one process."""
    command = [sys.executable, "-m", "bncheck", "sweep", *OPTIONS, *options, "--out", str(path)]
    subprocess.run(command, capture_output=True, cwd=path.parent, check=False)
    return lines_without_times(path)


def test_the_rows_equal_those_of_one_process(cluster: Cluster, tmp_path: Path) -> None:
    axes = ("--seed", "0..29", "--step", "auto,1e-5", "--bn-eps", "1e-5,1e-2")
    running = cluster.sweep(*axes, "--out", str(tmp_path / "cluster.jsonl"))
    stdout, stderr = running.communicate()
    assert (running.returncode, stderr) == (0, "")
    assert "120: 120 pass" in stdout
    assert lines_without_times(tmp_path / "cluster.jsonl") == run_locally(tmp_path / "local.jsonl", *axes)


def test_a_target_is_sent_with_the_files_that_it_imports_from_its_folder(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "loaded.txt"
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "roots.py").write_text("from numpy import sqrt as root\n")
    record_path = f"open({str(log)!r}, 'a').write(__file__ + chr(10))\n"
    (tmp_path / "layers.py").write_text(BATCHNORM + record_path)
    (tmp_path / "wrong.py").write_text(BATCHNORM.replace("- g.mean(axis=0)", "") + record_path)
    axes = (str(tmp_path / "layers.py"), str(tmp_path / "wrong.py"), "--seed", "0..2")
    running = cluster.sweep(*axes, "--out", str(tmp_path / "cluster.jsonl"))
    _, stderr = running.communicate()
    assert (running.returncode, stderr) == (1, "")
    loaded = log.read_text().splitlines()
    assert {Path(file).name for file in loaded} == {"layers.py", "wrong.py"}
    assert not any(Path(file).is_relative_to(tmp_path) for file in loaded)
    assert lines_without_times(tmp_path / "cluster.jsonl") == run_locally(tmp_path / "local.jsonl", *axes)
    assert f"bncheck run {tmp_path / 'wrong.py'}" in (tmp_path / "cluster.jsonl").read_text()


# Files by their paths; TARGETS names those that run. Some import the square root of batch norm.
NORM = BATCHNORM.replace("from parts.roots import root\n", "")
FILES = {
    "linked/layers": f"from util import root\n{NORM}",
    "shared/util": "from numpy import sqrt as root\n",
    "linked2/layers": f"from lib.util import root\n{NORM}",
    "dots": f"try:\n    from {'.' * 30} import x\nexcept ImportError:\n    from numpy import sqrt as root\n{NORM}",
    "deep": f"from numpy import sqrt as root\nx = lambda: {'+'.join('1' * 6000)}\n{NORM}",
    "pk/__init__": "",
    "pk/layers": f"from other import root\nassert __name__ == 'pk.layers'\n{NORM}",
    "other": "from numpy import sqrt as root\n",
    "pk/util": "1 / 0\n",
    "pk/more": f"from util import root\nimport statistics\n{NORM}",
    "util": "from numpy import sqrt as root\n",
    "pk/statistics": "1 / 0\n",
    "back/__init__": "",
    "back/layers": f"from .near import z\nfrom other import root\n{NORM}",
    "back/near": "z = 1\n",
    "lone/up": f"from .. import x\n{NORM}",
    "lone/nothing": f"from .nothing import x\n{NORM}",
    "up/sub/layers": f"from up.m import x\n{NORM}",
    "up/m": "raise OSError(f'no data beside {__file__}')\n",
    "empty": "x = 1\n",
    "same/same": "import same.zz\n",
}
TARGETS = (
    "linked/layers.py", "linked2/layers.py", "dots.py", "deep.py", "pk.layers", "pk.more", "back/layers.py",
    "back.layers", "lone/up.py", "lone/nothing.py", "up/sub/layers.py", "empty.py", "same/same.py", "other.py:nothing",
    "numpy.linalg",
)  # fmt: skip


def test_the_row_of_a_target_equals_that_of_one_process_for_every_way_to_import(cluster: Cluster) -> None:
    for name, text in FILES.items():
        path = cluster.folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (cluster.folder / "linked" / "util.py").symlink_to(Path("..") / "shared" / "util.py")
    (cluster.folder / "linked2" / "lib").symlink_to(Path("..") / "shared")
    path = cluster.folder / "cluster.jsonl"
    _, stderr = cluster.sweep(*TARGETS, "--out", str(path)).communicate(timeout=120)
    assert stderr == ""
    local = run_locally(cluster.folder / "local.jsonl", *TARGETS)
    assert lines_without_times(path) == local
    assert sum(json.loads(line)["verdict"] == "pass" for line in local) == 7


def test_a_worker_writes_the_files_again_if_its_folder_was_deleted_or_reports_why_it_cannot(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    (tmp_path / "layers.py").write_text(NORM.replace("root(", "np.sqrt("))
    with start_cluster(tmp_path) as started:
        started.start_workers(1)
        assert "1 pass" in started.sweep("layers.py").communicate(timeout=60)[0]
        for folder in (tmp_path / "work").rglob("bncheck-*"):
            shutil.rmtree(folder)  # as a cleaner of temporary files does
        assert "1 pass" in started.sweep("layers.py").communicate(timeout=60)[0]
        shutil.rmtree(tmp_path / "work")
        _, stderr = started.sweep("layers.py").communicate(timeout=60)
    assert re.match(r"Error: the worker at tcp://[\d.:]+ cannot write to .*work.*: No such file or directory", stderr)


def test_the_interpreter_can_exit_before_all_rows_are_taken(cluster: Cluster) -> None:
    script = f"""
import bncheck
rows = bncheck.sweep(N=4, D=3, H=2, seed=range(10_000), dask={cluster.address!r})
print(next(rows).verdict.value)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert (result.stdout, result.stderr) == ("pass\n", "")


def test_the_levels_of_loggers_are_restored_after_a_sweep(cluster: Cluster) -> None:
    script = f"""
import logging, distributed, bncheck
before = logging.getLogger("distributed").level, logging.getLogger("asyncio").level
list(bncheck.sweep(N=4, D=3, H=2, dask={cluster.address!r}))
print(before == (logging.getLogger("distributed").level, logging.getLogger("asyncio").level))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert result.stdout == "True\n"


def test_a_worker_that_does_not_respond_does_not_stop_the_others(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with start_cluster(tmp_path) as started:
        _, stopped = started.start_workers(2)
        stopped.send_signal(signal.SIGSTOP)
        script = "import bncheck.execution.dask_pool as p; p.SCHEDULER_TIMEOUT_SECONDS = 1.0; "
        script += "from bncheck.cli.main import main; main()"
        path = tmp_path / "rows.jsonl"
        arguments = ["sweep", *OPTIONS, "--seed", "0..99999", "--dask", started.address, "--out", str(path)]
        running = subprocess.Popen([sys.executable, "-c", script, *arguments], stderr=subprocess.PIPE, text=True)
        wait_until(lambda: count_lines(path) > 5)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=30)
    assert f"a worker of {started.address} does not respond; continuing without checking its version\n" in stderr


def test_a_sweep_of_one_process_can_be_resumed_on_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    path, axes = tmp_path / "rows.jsonl", ("--seed", "0..39")
    expected = run_locally(path, *axes)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:15]))
    running = cluster.sweep(*axes, "--out", str(path), "--resume")
    assert "40: 40 pass" in running.communicate()[0]
    assert lines_without_times(path) == expected


def test_ctrl_c_disconnects_from_the_cluster_and_keeps_the_rows(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    running = cluster.sweep("--seed", "0..99999", "--out", str(path))
    wait_until(lambda: count_lines(path) > 20)
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=30)
    assert running.returncode == 130
    assert f"  {count_lines(path):,}: " in stdout
    assert re.search(
        r"^Interrupted after [\d,]+ of 100,000 checks\. Resume with: .* --resume\n\Z", stderr, re.MULTILINE
    )
    next_sweep = cluster.sweep("--seed", "0..3")  # the workers are free
    assert next_sweep.communicate(timeout=30)[1] == ""


def test_a_sweep_from_python_can_use_a_cluster(cluster: Cluster) -> None:
    script = f"import bncheck; print(len(list(bncheck.sweep(N=[4, 8], D=3, H=2, dask={cluster.address!r}))))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("2\n", "")


def test_the_command_for_a_cluster_in_the_readme_runs(cluster: Cluster, tmp_path: Path) -> None:
    (command,) = re.findall(r"^bncheck (sweep .*--dask.*)$", README, re.MULTILINE)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "roots.py").write_text("from numpy import sqrt as root\n")
    (tmp_path / "layers.py").write_text(BATCHNORM)
    arguments = command.replace("tcp://10.0.0.1:8786", cluster.address).replace("0..9999", "0..9").split()
    result = subprocess.run(
        [sys.executable, "-m", "bncheck", *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert count_lines(tmp_path / "rows.jsonl") == 10


@pytest.mark.parametrize(("checks", "second_crash"), [(300, 100), pytest.param(2000, 800, marks=pytest.mark.slow)])
def test_rows_do_not_change_if_two_workers_crash_and_one_joins(checks: int, second_crash: int, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    path, axes = tmp_path / "cluster.jsonl", ("--seed", f"0..{checks - 1}")
    with start_cluster(tmp_path) as started:
        first, second, _ = started.start_workers(3)
        running = started.sweep(*axes, "--out", str(path))
        wait_until(lambda: count_lines(path) > second_crash // 3)
        first.kill()
        started.start_workers(1)
        wait_until(lambda: count_lines(path) > second_crash)
        second.kill()
        _, stderr = running.communicate(timeout=120)
    assert (running.returncode, stderr) == (0, "")
    assert lines_without_times(path) == run_locally(tmp_path / "local.jsonl", *axes)


# A module that the workers import; the check of one seed always crashes its worker.
CRASHING = """
import os, time
from bncheck import Verdict
from bncheck.model.options import CheckOptions
from bncheck.sweeps import runner
from bncheck.sweeps.grid import Grid
from bncheck.sweeps.rows import Row

def run_point(options, timeout, first, point, unpacked=None):
    if point.seed == 3:
        os._exit(1)
    return Row(point, Verdict.PASS, {}, 0, 0, 0, 0.0, "", "")

if __name__ == "__main__":
    import sys, crashing
    runner.run_point = crashing.run_point
    grid = Grid({"seed": tuple(range(12))}, CheckOptions())
    rows = list(runner.run_grid(grid, runner.create_pool(grid, 1, sys.argv[1], print)))
    print(sorted((row.point.seed, row.message) for row in rows if row.verdict is None), len(rows))
"""


def test_a_check_that_crashes_three_workers_is_given_up_and_no_other_is(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    (tmp_path / "crashing.py").write_text(CRASHING)
    path = {"PYTHONPATH": str(tmp_path), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with start_cluster(tmp_path, **path) as started:
        started.start_workers(1, nanny=True)
        command = [sys.executable, str(tmp_path / "crashing.py"), started.address]
        result = subprocess.run(command, capture_output=True, text=True, env=started.environment, check=False)
    assert result.stdout == "[(3, 'the worker process crashed 3 times on this check')] 12\n", result.stderr


NO_BNCHECK = "import sys; sys.modules['bncheck'] = None"
OLD = "import bncheck.model.version as v; v.__version__ = '0.0.9'; import bncheck; bncheck.__version__ = '0.0.9'"


def test_a_worker_without_bncheck_or_with_another_version_ends_the_sweep_also_when_it_joins_later(
    tmp_path: Path,
) -> None:
    pytest.importorskip("distributed")
    install = f"install it on the worker with: pip install bncheck=={bncheck.__version__}"
    with start_cluster(tmp_path) as started:
        (bare,) = started.start_workers(before=NO_BNCHECK)
        running = started.sweep()
        stdout, stderr = running.communicate(timeout=60)
        assert (running.returncode, stdout) == (2, "")
        assert re.fullmatch(
            rf"Error: bncheck is not installed on the worker at tcp://127.0.0.1:\d+; {install}\n", stderr
        )
        bare.kill()
        bare.wait()
        (old,) = started.start_workers(before=OLD)
        _, stderr = started.sweep().communicate(timeout=60)
        mismatch = f"has bncheck 0.0.9, this machine has {re.escape(bncheck.__version__)}"
        assert re.fullmatch(rf"Error: the worker at tcp://[\d.:]+ {mismatch}; {install}\n", stderr)
        old.kill()
        old.wait()
        for number, (before, message) in enumerate(
            [
                (NO_BNCHECK, r"bncheck is not installed on (a|the) worker (at|of) tcp://[\d.:]+"),
                (OLD, rf"the worker at tcp://[\d.:]+ {mismatch}"),
            ]
        ):
            path = tmp_path / f"{number}.jsonl"
            (good,) = started.start_workers()
            running = started.sweep("--seed", "0..99999", "--out", str(path))
            wait_until(lambda path=path: count_lines(path) > 5)  # type: ignore[misc]  # mypy cannot infer the bound default
            (late,) = started.start_workers(before=before)
            stdout, stderr = running.communicate(timeout=60)
            assert running.returncode == 2
            assert re.match(rf"Error: {message}; {install}; stopped after [\d,]+ of 100,000", stderr)
            assert "Resume with: bncheck sweep" in stderr
            assert f"  {count_lines(path):,}: " in stdout  # the finished rows are shown
            for process in (good, late):
                process.kill()
                process.wait()


def test_a_sweep_waits_for_workers_and_reports_a_lost_scheduler(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    path = tmp_path / "rows.jsonl"
    with start_cluster(tmp_path) as started:
        script = "import bncheck.execution.pool as p; p.IDLE_POLL_SECONDS = 0.2; "
        script += "from bncheck.cli.main import main; main()"
        arguments = ["sweep", *OPTIONS, "--seed", "0..99999", "--out", str(path), "--dask", started.address]
        running = subprocess.Popen([sys.executable, "-c", script, *arguments], stderr=subprocess.PIPE, text=True)
        assert running.stderr is not None
        start = f"dask worker {started.address}"
        waiting = f"no workers are connected to {started.address}; waiting (start one with: {start})\n"
        assert running.stderr.readline() == waiting
        started.start_workers(1)
        wait_until(lambda: count_lines(path) > 5)
        started.processes[0].kill()
        _, stderr = running.communicate(timeout=60)
        assert running.returncode == 2
        assert f"Error: lost the connection to the Dask scheduler at {started.address}; stopped after " in stderr
        assert waiting not in stderr  # not printed a second time
        assert "Traceback" not in stderr


@pytest.mark.parametrize(
    "address",
    [
        "nonsense", "", "tcp://", "tcp://host", "tcp://host:x", "tcp://host:0", "tcp://host:65536", "tcp://::1:8786",
        "tcp://[::1]", "smoke://host:1", "http://host:1", "ucx://host:1", "inproc://127.0.0.1/1/2", "TCP://host:1",
        "a://b://c:1", "tcp://host:1 ", "tcp://host:1\n",
    ],
)  # fmt: skip
def test_an_invalid_address_is_an_error(address: str) -> None:
    pytest.importorskip("distributed")
    result = CliRunner().invoke(main, ["sweep", "--dask", address])
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: {address!r} is not the address of a Dask scheduler that bncheck can use; examples are "
        "tcp://10.0.0.1:8786, tls://10.0.0.1:8786 and tcp://[::1]:8786\n"
    )


FORGED_ROW = """lambda *_: __import__("json").dumps({"seconds": 1, "results": [%s]})"""
PICKLED = """
class Evil:
    def __reduce__(self):
        return (__import__("os").mkdir, ("unpickled",))
p.run_on_worker = lambda *_: Evil()
import distributed.worker as w
get_data = w.Worker.get_data
w.Worker.get_data = lambda self, comm, keys, who=None, serializers=None: get_data(self, comm, keys, who, ["pickle"])
"""


@pytest.mark.parametrize(
    ("forgery", "message"),
    [
        ("p.run_on_worker = lambda *_: 'nonsense'", "returned 'nonsense', which are not the results of the checks"),
        ("p.run_on_worker = lambda *_: 3", "returned 3, which are not the results of the checks"),
        ("p.run_on_worker = lambda *_: '{}'", "returned '{}', which are not the results of the checks"),
        (f"p.run_on_worker = {FORGED_ROW % ('{}, ' * 99)}", "which are not the results of the checks"),
        (f"p.run_on_worker = {FORGED_ROW % {'verdict': 'great'}}", "which are not the results of the checks"),
        ("p.run_on_worker = lambda *_: '[' * 100_000", "which are not the results of the checks"),
        (PICKLED, "returned an object that must be unpickled, which bncheck refuses"),
    ],
)
def test_a_forged_answer_of_a_worker_is_neither_unpickled_nor_believed(
    forgery: str, message: str, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    with start_cluster(tmp_path) as started:
        started.start_workers(before=f"exec({'import bncheck.execution.dask_pool as p' + chr(10) + forgery!r})")
        running = started.sweep()
        _, stderr = running.communicate(timeout=60)
    assert running.returncode == 2
    assert re.fullmatch(
        rf"Error: a worker of tcp://[\d.:]+ .*{re.escape(message)}.*; stopped after 0 of 1 checks\.\n", stderr
    )
    assert not list(tmp_path.rglob("unpickled"))


def test_rows_from_a_cluster_have_the_full_precision_and_the_settings_of_the_caller(cluster: Cluster) -> None:
    axes: dict[str, Any] = {"N": np.arange(4, 7), "D": 3, "H": 2, "bn_eps": [1e-5, 0.1 + 0.2]}
    rows = {row.point: replace(row, seconds=0.0) for row in bncheck.sweep(**axes, dask=cluster.address)}
    assert rows == {row.point: replace(row, seconds=0.0) for row in bncheck.sweep(**axes)}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables with which Dask uses a certificate that signs itself."""
    folder = tmp_path_factory.mktemp("certificates")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run(command.split(), cwd=folder, capture_output=True, check=True)
    files = {"CA_FILE": "cert.pem"}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        files |= {f"{role}__CERT": "cert.pem", f"{role}__KEY": "key.pem"}
    return {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(folder / file) for name, file in files.items()}


def test_a_tls_address_uses_the_certificates_of_dask_or_the_error_says_what_is_missing(
    certificates: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    protocol = {"DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME": "tls"}
    with start_cluster(tmp_path, **certificates, **protocol) as started:
        started.start_workers(1)
        assert started.address.startswith("tls://")
        command = [sys.executable, "-m", "bncheck", "sweep", *OPTIONS, "--dask", started.address]

        def run(**environment: str) -> str:
            result = subprocess.run(
                command, capture_output=True, text=True, env=os.environ | environment, cwd=tmp_path, check=False
            )
            return f"{result.returncode} {result.stderr}"

        assert run(**certificates) == "0 "
        assert run() == (
            f"2 Error: {started.address} requires certificates in Dask's configuration (distributed.comm.tls); set "
            "these environment variables to their files: DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT, DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY\n"
        )
        unreadable = certificates | {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(tmp_path / "missing.pem")}
        assert run(**unreadable) == (
            "2 Error: cannot use the certificates of distributed.comm.tls in Dask's configuration: "
            "[Errno 2] No such file or directory\n"
        )


def test_an_address_without_encryption_is_refused_if_dask_requires_it(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    security = partial(distributed.Security, require_encryption=True)
    monkeypatch.setattr(distributed, "Security", security)
    result = CliRunner().invoke(main, ["sweep", "--dask", "tcp://127.0.0.1:8786"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "Error: tcp://127.0.0.1:8786 is not encrypted, which distributed.comm.require-encryption in Dask's "
        "configuration demands; use a tls:// address\n"
    )


def test_a_port_that_accepts_connections_and_does_not_respond_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("bncheck.execution.dask_pool.SCHEDULER_TIMEOUT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        result = CliRunner().invoke(main, ["sweep", "--dask", address])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: no Dask scheduler responded at {address} within 0.5 s")


def test_an_address_without_a_scheduler_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("bncheck.execution.dask_pool.SCHEDULER_TIMEOUT_SECONDS", 0.5)
    result = CliRunner().invoke(main, ["sweep", "--dask", "tcp://127.0.0.1:9"])
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: no Dask scheduler responded at tcp://127.0.0.1:9 within 0.5 s; start one with: dask scheduler\n"
    )


def test_without_dask_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = CliRunner().invoke(main, ["sweep", "--dask", "tcp://127.0.0.1:8786"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: --dask requires dask: pip install 'bncheck[dask]'\n"


def test_jobs_and_dask_cannot_be_combined() -> None:
    result = CliRunner().invoke(main, ["sweep", "--dask", "tcp://127.0.0.1:8786", "--jobs", "2"])
    assert result.exit_code == 2
    assert "--jobs and --dask cannot be combined" in result.stderr


def test_unpickling_a_call_runs_it_and_returns_json() -> None:
    call = _PicklableCall(str, repr, [SweepPoint(N=3)], {"reference": None}, bncheck.__version__)
    answer = json.loads(pickle.loads(pickle.dumps(call)))
    assert answer["results"] == [repr(str(SweepPoint(N=3)))]
    assert answer["seconds"] > 0
