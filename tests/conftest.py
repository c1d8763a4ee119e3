"""What every test may rely on."""

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

# Set by .ci/run, where every optional extra is installed: a skipped test is then an error.
NO_SKIPS = "BNCHECK_NO_SKIPS"

# The installed package is tested, not the checkout: neither here, where "python -m pytest" puts the
# working directory first, nor in processes that tests start.
if sys.path and Path(sys.path[0] or ".").resolve() == Path(__file__).parent.parent:
    del sys.path[0]
os.environ["PYTHONSAFEPATH"] = "1"
# For arrays as small as those of the tests threads cost more time than they save, also in processes that tests start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture
def typical_edge_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the edge cases by which no mistake is named; tests of these are in test_verdicts."""
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
