"""A sweep on a Dask cluster: the same rows, whatever dies or joins, and a sentence for what is missing."""

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
from pathlib import Path

import pytest
from click.testing import CliRunner

import bncheck
from bncheck.cli.main import main
from bncheck.execution.dask_pool import _PicklableCall
from bncheck.sweeps.sweep import SweepPoint
from bncheck.targets.bundle import SourceBundle
from tests.readme import README

OPTIONS = ("--N", "8", "--D", "5", "--H", "4")
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


class ProcessPool:
    """A scheduler and its workers, each a process of its own on this machine."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.file = folder, folder / "scheduler.json"
        self.environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment}
        self.all = [self._start("scheduler", "", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", self.file)]
        until(self.file.exists)
        self.address = str(json.loads(self.file.read_text())["address"])

    def _start(self, what: str, before: str, *options: object) -> "subprocess.Popen[bytes]":
        script = f"{before}; from distributed.cli.dask_{what} import main; main()"
        command = [sys.executable, "-c", script.lstrip("; "), *map(str, options), "--no-dashboard"]
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, env=self.environment, cwd=self.folder, start_new_session=True
            )

    def workers(self, count: int = 1, before: str = "", nanny: bool = False) -> "list[subprocess.Popen[bytes]]":
        """Start so many, and wait until they have joined; ``before`` is what they run first."""
        kind = () if nanny else ("--no-nanny",)
        joined = self.joined() + count
        options = ("--scheduler-file", self.file, "--nthreads", "1", "--local-directory", self.folder / "work", *kind)
        new = [self._start("worker", before, *options) for _ in range(count)]
        self.all += new
        until(lambda: self.joined() >= joined)
        return new

    def joined(self) -> int:
        return (self.folder / "log.txt").read_bytes().count(b"Registered to:")

    def sweep(self, *options: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "bncheck", "sweep", *OPTIONS, *options, "--dask", self.address]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder)


@contextmanager
def processes(folder: Path, **environment: str) -> Iterator[ProcessPool]:
    started = ProcessPool(folder, **environment)
    try:
        yield started
    finally:
        for process in started.all:  # with what they have started
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessPool]:
    """Two workers that are there for all tests that kill none."""
    pytest.importorskip("distributed")
    with processes(tmp_path_factory.mktemp("cluster")) as started:
        started.workers(2)
        yield started


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def timeless(path: Path) -> list[str]:
    return sorted(re.sub(r'"seconds": [^,]+', "", line) for line in path.read_text().splitlines())


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def alone(path: Path, *options: str) -> list[str]:
    """Return the rows of one process."""
    command = [sys.executable, "-m", "bncheck", "sweep", *OPTIONS, *options, "--out", str(path)]
    subprocess.run(command, capture_output=True, cwd=path.parent, check=False)
    return timeless(path)


def test_the_rows_are_those_of_one_process(cluster: ProcessPool, tmp_path: Path) -> None:
    axes = ("--seed", "0..29", "--step", "auto,1e-5", "--bn-eps", "1e-5,1e-2")
    running = cluster.sweep(*axes, "--out", str(tmp_path / "far.jsonl"))
    stdout, stderr = running.communicate()
    assert (running.returncode, stderr) == (0, "")
    assert "checks     120: 120 pass" in stdout
    assert timeless(tmp_path / "far.jsonl") == alone(tmp_path / "near.jsonl", *axes)


def test_a_target_travels_as_text_with_what_it_imports_from_beside_it(cluster: ProcessPool, tmp_path: Path) -> None:
    seen = tmp_path / "seen.txt"
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "roots.py").write_text("from numpy import sqrt as root\n")
    witness = f"open({str(seen)!r}, 'a').write(__file__ + chr(10))\n"
    (tmp_path / "layers.py").write_text(BATCHNORM + witness)
    (tmp_path / "wrong.py").write_text(BATCHNORM.replace("- g.mean(axis=0)", "") + witness)
    axes = (str(tmp_path / "layers.py"), str(tmp_path / "wrong.py"), "--seed", "0..2")
    running = cluster.sweep(*axes, "--out", str(tmp_path / "far.jsonl"))
    _, stderr = running.communicate()
    assert (running.returncode, stderr) == (1, "")
    loaded = seen.read_text().splitlines()
    assert len(loaded) == 6
    assert not any(Path(file).is_relative_to(tmp_path) for file in loaded)
    assert timeless(tmp_path / "far.jsonl") == alone(tmp_path / "near.jsonl", *axes)
    assert f"bncheck run {tmp_path / 'wrong.py'}" in (tmp_path / "far.jsonl").read_text()


# Files by their paths; what runs is named below them. ROOT makes batch norm of a root that is imported.
NORM = BATCHNORM.replace("from parts.roots import root\n", "")
WAYS = {
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


def test_however_a_target_imports_its_row_is_that_of_one_process(cluster: ProcessPool) -> None:
    for name, text in WAYS.items():
        path = cluster.folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (cluster.folder / "linked" / "util.py").symlink_to(Path("..") / "shared" / "util.py")
    (cluster.folder / "linked2" / "lib").symlink_to(Path("..") / "shared")
    far = cluster.folder / "far.jsonl"
    _, stderr = cluster.sweep(*TARGETS, "--out", str(far)).communicate(timeout=120)
    assert stderr == ""
    near = alone(cluster.folder / "near.jsonl", *TARGETS)
    assert timeless(far) == near
    assert sum('"verdict": "pass"' in line for line in near) == 7


def test_a_worker_whose_folder_is_gone_is_told_of(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    (tmp_path / "layers.py").write_text(NORM.replace("root(", "np.sqrt("))
    with processes(tmp_path) as started:
        started.workers(1)
        assert "1 pass" in started.sweep("layers.py").communicate(timeout=60)[0]
        for folder in (tmp_path / "work").rglob("bncheck-*"):
            shutil.rmtree(folder)  # as what cleans up a temporary folder does
        assert "1 pass" in started.sweep("layers.py").communicate(timeout=60)[0]
        shutil.rmtree(tmp_path / "work")
        _, stderr = started.sweep("layers.py").communicate(timeout=60)
    assert re.match(r"Error: the worker at tcp://[\d.:]+ cannot write to .*work.*: No such file or directory", stderr)


def test_a_sweep_that_is_not_taken_to_its_end_lets_the_interpreter_end(cluster: ProcessPool) -> None:
    script = f"""
import logging, bncheck
rows = bncheck.sweep(N=4, D=3, H=2, seed=range(10_000), dask={cluster.address!r})
print(next(rows).verdict.value)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert (found.stdout, found.stderr) == ("pass\n", "")


def test_what_others_log_is_heard_again_when_a_sweep_is_done(cluster: ProcessPool) -> None:
    script = f"""
import logging, distributed, bncheck
before = logging.getLogger("distributed").level, logging.getLogger("asyncio").level
list(bncheck.sweep(N=4, D=3, H=2, dask={cluster.address!r}))
print(before == (logging.getLogger("distributed").level, logging.getLogger("asyncio").level))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout == "True\n"


def test_a_worker_that_does_not_answer_holds_up_nothing_that_others_can_do(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with processes(tmp_path) as started:
        _, stopped = started.workers(2)
        stopped.send_signal(signal.SIGSTOP)
        script = "import bncheck.execution.dask_pool; bncheck.execution.dask_pool.ANSWER = 1.0; from bncheck.cli import main; main()"
        path = tmp_path / "rows.jsonl"
        words = ["sweep", *OPTIONS, "--seed", "0..99999", "--dask", started.address, "--out", str(path)]
        running = subprocess.Popen([sys.executable, "-c", script, *words], stderr=subprocess.PIPE, text=True)
        until(lambda: lines_in(path) > 5)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=30)
    assert f"some worker at {started.address} does not answer: going on without knowing its version\n" in stderr


def test_resume_on_a_cluster_finishes_what_one_process_began(cluster: ProcessPool, tmp_path: Path) -> None:
    path, axes = tmp_path / "rows.jsonl", ("--seed", "0..39")
    whole = alone(path, *axes)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:15]))
    running = cluster.sweep(*axes, "--out", str(path), "--resume")
    assert "checks     40: 40 pass" in running.communicate()[0]
    assert timeless(path) == whole


def test_ctrl_c_leaves_the_cluster_and_keeps_the_rows(cluster: ProcessPool, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    running = cluster.sweep("--seed", "0..99999", "--out", str(path))
    until(lambda: lines_in(path) > 20)
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=30)
    assert running.returncode == 130
    assert f"checks     {lines_in(path):,}: " in stdout
    assert re.search(
        r"^Interrupted after [\d,]+ of 100,000 checks; finish it with: .* --resume\n\Z", stderr, re.MULTILINE
    )
    again = cluster.sweep("--seed", "0..3")  # nothing is left that keeps the workers busy
    assert again.communicate(timeout=30)[1] == ""


def test_from_python_a_cluster_does_it_as_well(cluster: ProcessPool) -> None:
    script = f"import bncheck; print(len(list(bncheck.sweep(N=[4, 8], D=3, H=2, dask={cluster.address!r}))))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (found.stdout, found.stderr) == ("2\n", "")


def test_a_file_of_a_package_that_names_no_package_is_sent_with_it(tmp_path: Path) -> None:
    write(tmp_path, course__SLASH____init__="from .more import z\n", course__SLASH__more="z = 1\n")
    write(tmp_path, course__SLASH__layers="from .less import z\n", course__SLASH__less="z = 1\n")
    names = {"__init__", "more", "layers", "less"}
    assert sent(tmp_path / "course" / "layers.py") == {f"course/{name}.py" for name in names}


def test_the_readme_s_command_for_a_cluster_runs(cluster: ProcessPool, tmp_path: Path) -> None:
    (command,) = re.findall(r"^bncheck (sweep .*--dask.*)$", README, re.MULTILINE)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "roots.py").write_text("from numpy import sqrt as root\n")
    (tmp_path / "layers.py").write_text(BATCHNORM)
    words = command.replace("tcp://10.0.0.1:8786", cluster.address).replace("0..9999", "0..9").split()
    found = subprocess.run(
        [sys.executable, "-m", "bncheck", *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert lines_in(tmp_path / "rows.jsonl") == 10


@pytest.mark.parametrize(("checks", "most"), [(300, 100), pytest.param(2000, 800, marks=pytest.mark.slow)])
def test_two_workers_that_are_killed_and_one_that_joins_change_no_row(checks: int, most: int, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    path, axes = tmp_path / "far.jsonl", ("--seed", f"0..{checks - 1}")
    with processes(tmp_path) as started:
        first, second, _ = started.workers(3)
        running = started.sweep(*axes, "--out", str(path))
        until(lambda: lines_in(path) > most // 3)
        first.kill()
        started.workers(1)
        until(lambda: lines_in(path) > most)
        second.kill()
        _, stderr = running.communicate(timeout=120)
    assert (running.returncode, stderr) == (0, "")
    assert timeless(path) == alone(tmp_path / "near.jsonl", *axes)


# A module by itself, which workers import: checks of some seeds kill their worker each time.
DYING = """
import os, time
from bncheck import Verdict
from bncheck.execution.dask_pool import Cluster
from bncheck.sweeps.sweep import Grid, Row, run_grid
from bncheck.model.options import Method
import bncheck.sweeps.sweep

def run_point(method, timeout, first, point, at=None):
    if point.seed == 3:
        os._exit(1)
    return Row(point, Verdict.PASS, {}, 0, 0, 0, 0.0, "", "")

if __name__ == "__main__":
    import sys, dying
    bncheck.sweeps.sweep.run_point = dying.run_point
    grid = Grid({"seed": tuple(range(12))}, Method())
    rows = list(run_grid(grid, Cluster(sys.argv[1], ["reference"], print)))
    print(sorted((row.point.seed, row.said) for row in rows if row.verdict is None), len(rows))
"""


def test_a_check_that_kills_its_workers_is_given_up_and_no_other_is(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    (tmp_path / "dying.py").write_text(DYING)
    path = {"PYTHONPATH": str(tmp_path), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with processes(tmp_path, **path) as started:
        started.workers(1, nanny=True)
        command = [sys.executable, str(tmp_path / "dying.py"), started.address]
        found = subprocess.run(command, capture_output=True, text=True, env=started.environment, check=False)
    assert found.stdout == "[(3, 'its worker died 3 times')] 12\n", found.stderr


NO_BNCHECK = "import sys; sys.modules['bncheck'] = None"
OLD = "import bncheck; bncheck.__version__ = '0.0.9'"


def test_workers_that_cannot_do_it_are_told_at_once_or_when_they_join(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    way = f"install it there with: pip install bncheck=={bncheck.__version__}"
    with processes(tmp_path) as started:
        (bare,) = started.workers(before=NO_BNCHECK)
        running = started.sweep()
        stdout, stderr = running.communicate(timeout=60)
        assert (running.returncode, stdout) == (2, "")
        assert re.fullmatch(rf"Error: the worker at tcp://127.0.0.1:\d+ has no bncheck; {way}\n", stderr)
        bare.kill()
        bare.wait()
        (old,) = started.workers(before=OLD)
        _, stderr = started.sweep().communicate(timeout=60)
        ours = re.escape(bncheck.__version__)
        assert re.fullmatch(
            rf"Error: the worker at tcp://[\d.:]+ has bncheck 0.0.9, and this is {ours}; {way}\n", stderr
        )
        old.kill()
        old.wait()
        for before, told in (
            (NO_BNCHECK, "has no bncheck"),
            (OLD, f"has bncheck 0.0.9, and this is {bncheck.__version__}"),
        ):
            path = tmp_path / f"{len(told)}.jsonl"
            (good,) = started.workers()
            running = started.sweep("--seed", "0..99999", "--out", str(path))
            until(lambda path=path: lines_in(path) > 5)  # type: ignore[misc]  # mypy cannot infer the bound default
            (late,) = started.workers(before=before)
            stdout, stderr = running.communicate(timeout=60)
            assert running.returncode == 2
            assert re.match(
                rf"Error: (a|the) worker (at|of) tcp://[\d.:]+ {told}; {way} \(after [\d,]+ of 100,000", stderr
            )
            assert "finish it with: bncheck sweep" in stderr
            assert f"checks     {lines_in(path):,}: " in stdout  # what was done is shown
            for process in (good, late):
                process.kill()
                process.wait()


def test_a_cluster_without_workers_is_waited_for_and_a_scheduler_that_goes_is_told(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    path = tmp_path / "rows.jsonl"
    with processes(tmp_path) as started:
        script = (
            "import bncheck.execution.pool; bncheck.execution.pool.PATIENCE = 0.2; from bncheck.cli import main; main()"
        )
        words = ["sweep", *OPTIONS, "--seed", "0..99999", "--out", str(path), "--dask", started.address]
        running = subprocess.Popen([sys.executable, "-c", script, *words], stderr=subprocess.PIPE, text=True)
        assert running.stderr is not None
        waiting = f"no worker at {started.address}: waiting for one (start one with: dask worker {started.address})\n"
        assert running.stderr.readline() == waiting
        started.workers(1)
        until(lambda: lines_in(path) > 5)
        started.all[0].kill()
        _, stderr = running.communicate(timeout=60)
        assert running.returncode == 2
        assert f"Error: the Dask scheduler at {started.address} is gone (after " in stderr
        assert waiting not in stderr  # once is enough
        assert "Traceback" not in stderr


@pytest.mark.parametrize("address", ["nonsense", "", "tcp://host", "smoke://host:1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    pytest.importorskip("distributed")
    result = CliRunner().invoke(main, ["sweep", "--dask", address])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {address!r} is no address of a Dask scheduler (")


def test_a_port_that_takes_connections_and_does_not_answer_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("bncheck.execution.dask_pool.SCHEDULER_TIMEOUT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        result = CliRunner().invoke(main, ["sweep", "--dask", address])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: no Dask scheduler answers at {address} within 0.5 s")


def test_a_scheduler_that_does_not_answer_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("bncheck.execution.dask_pool.SCHEDULER_TIMEOUT_SECONDS", 0.5)
    result = CliRunner().invoke(main, ["sweep", "--dask", "tcp://127.0.0.1:9"])
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: no Dask scheduler answers at tcp://127.0.0.1:9 within 0.5 s; start one with: dask scheduler\n"
    )


def test_without_dask_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = CliRunner().invoke(main, ["sweep", "--dask", "tcp://127.0.0.1:8786"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: --dask needs dask: pip install 'bncheck[dask]'\n"


def test_processes_and_a_cluster_are_not_asked_for_together() -> None:
    result = CliRunner().invoke(main, ["sweep", "--dask", "tcp://127.0.0.1:8786", "--jobs", "2"])
    assert result.exit_code == 2
    assert "--jobs 2 are processes of this machine; leave it out with --dask" in result.stderr


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__SLASH__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(text)


def sent(target: Path | str) -> set[str]:
    sources = SourceBundle.of(str(target))
    assert sources is not None
    return {name for name, _ in sources.files}


def test_what_a_file_imports_from_beside_it_is_sent_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, main="import numpy, near\nfrom far import x\n", near="from near2 import y\n", near2="", other="")
    write(tmp_path, far__SLASH____init__="from .x import x\n", far__SLASH__x="from . import z\n", far__SLASH__z="")
    names = {"main.py", "near.py", "near2.py", "far/__init__.py", "far/x.py", "far/z.py"}
    assert sent(tmp_path / "main.py") == {f"{tmp_path.name}/{name}" for name in names}


def test_a_file_of_a_package_is_sent_with_what_it_names_by_the_package(tmp_path: Path) -> None:
    write(
        tmp_path, course__SLASH____init__="", course__SLASH__layers="from course.utils import *\nfrom .more import z\n"
    )
    write(tmp_path, course__SLASH__utils="import course.deep.est\n", course__SLASH__more="z = 1\n", unrelated="")
    write(tmp_path, course__SLASH__deep__SLASH__est="")
    assert sent(tmp_path / "course" / "layers.py") == {
        "course/__init__.py", "course/layers.py", "course/utils.py", "course/more.py", "course/deep/est.py",
    }  # fmt: skip


def test_what_is_sent_is_written_as_it_was_and_keeps_its_name(tmp_path: Path) -> None:
    text = "# -*- coding: latin-1 -*-\nname = 'é'\n".encode("latin-1")
    (tmp_path / "layers.py").write_bytes(text)
    sources = SourceBundle.of(f"{tmp_path / 'layers.py'}:solution_b")
    assert sources is not None
    there = sources.unpack(tmp_path / "there")
    assert there.target == f"{tmp_path / 'there' / tmp_path.name / 'layers.py'}:solution_b"
    assert Path(there.target.removesuffix(":solution_b")).read_bytes() == text


def test_a_file_that_does_not_parse_is_sent_alone(tmp_path: Path) -> None:
    write(tmp_path, old="import near\nprint 'python 2'\n", near="")
    assert sent(tmp_path / "old.py") == {f"{tmp_path.name}/old.py"}


def test_what_is_installed_goes_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert SourceBundle.of("reference") is None
    assert SourceBundle.of("numpy.linalg") is None
    write(tmp_path, mine__SLASH____init__="", mine__SLASH__layers="")
    assert sent("mine.layers") == {"bncheck_target.py", "mine/__init__.py", "mine/layers.py"}
    assert SourceBundle.of("mine.nothing") is None


def test_unpickling_what_is_handed_out_does_it() -> None:
    found, seconds = pickle.loads(
        pickle.dumps(_PicklableCall(str, [SweepPoint(N=3)], {"reference": None}, bncheck.__version__))
    )
    assert found == [str(SweepPoint(N=3))]
    assert seconds > 0
