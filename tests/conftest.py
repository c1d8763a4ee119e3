"""What every test may rely on."""

import os
import subprocess
import sys
from collections.abc import Generator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bncheck import CheckResult, Problem
    from tests.python_targets import CheckFile

# Set by .ci/run, where every optional extra is installed: a skipped test is then an error.
NO_SKIPS = "BNCHECK_NO_SKIPS"

# The installed package is tested, not the checkout: neither here, where "python -m pytest" puts the
# working directory first, nor in processes that tests start.
if sys.path and Path(sys.path[0] or ".").resolve() == Path(__file__).parent.parent:
    del sys.path[0]
os.environ["PYTHONSAFEPATH"] = "1"
# For arrays as small as those of the tests threads cost more time than they save, also in processes that tests start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _processes_are_marked(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Generator[None, None, None]:
    """Fail if a test without the marker ``process`` or ``cluster`` starts a Python process."""
    started: list[object] = []
    popen, start = subprocess.Popen.__init__, BaseProcess.start

    def record_popen(self: Any, command: Any, *arguments: Any, **options: Any) -> None:
        if not isinstance(command, str) and command[0] == sys.executable:  # matplotlib, for one, starts other programs
            started.append(command)
        popen(self, command, *arguments, **options)

    def record_start(self: BaseProcess) -> None:
        started.append(self)
        start(self)

    monkeypatch.setattr(subprocess.Popen, "__init__", record_popen)
    monkeypatch.setattr(BaseProcess, "start", record_start)
    yield
    if started and not any(map(request.node.get_closest_marker, ("process", "cluster"))):
        pytest.fail("this test starts a Python process; mark it with pytest.mark.process")


@pytest.fixture
def problem() -> "Problem":
    """Return a small problem whose three sizes differ."""
    from bncheck import random_problem  # noqa: PLC0415 - numpy reads the environment when it is imported

    return random_problem(9, 6, 4, seed=5)


@pytest.fixture
def check_file(tmp_path: Path, problem: "Problem") -> "CheckFile":
    """Return a function that writes a source text to a file and checks it on the small problem."""
    from bncheck import check  # noqa: PLC0415 - numpy reads the environment when it is imported

    def write_and_check(source: str, name: str = "layers.py", **options: object) -> "CheckResult":
        path = tmp_path / name.partition(":")[0]
        path.write_text(source, encoding="utf-8")
        return check(problem, str(tmp_path / name), **options)  # type: ignore[arg-type]  # the options are passed on unchanged

    return write_and_check


@pytest.fixture
def typical_edge_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the edge cases by which no mistake is named; tests of these are in checking/test_edge_cases.py."""
    from bncheck.checking.edge_cases import EDGE_CASES  # noqa: PLC0415 - numpy reads the environment when it is imported

    typical = tuple(case for case in EDGE_CASES if case.typical)
    monkeypatch.setattr("bncheck.checking.edge_cases.EDGE_CASES", typical)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,  # noqa: ARG001 - the hook's signature
    call: pytest.CallInfo[None],  # noqa: ARG001 - the hook's signature
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if os.environ.get(NO_SKIPS) and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although {NO_SKIPS} is set: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if os.environ.get(NO_SKIPS) and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped although {NO_SKIPS} is set: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _keep_other_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a command that runs in the process of pytest from terminating the processes that other tests started."""
    monkeypatch.setattr("bncheck.execution.processes.prepare_process", lambda: None)
