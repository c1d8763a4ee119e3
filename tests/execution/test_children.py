"""A sweep keeps the child of a target for the next check, as long as the code gives the same answers."""

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from bncheck import Verdict, check, random_problem, sweep
from bncheck.execution import children
from tests.python_targets import CheckFile
from tests.samples import DX, LAYERS, changed

pytestmark = pytest.mark.process

# Each process that imports the file adds its id to a file next to it.
COUNTING = "import os\nwith open(__file__ + '.pids', 'a') as file: file.write(f'{os.getpid()}\\n')\n"


def write(path: Path, source: str) -> str:
    path.write_text(source, encoding="utf-8")
    return str(path)


def pids(path: str) -> list[str]:
    return Path(f"{path}.pids").read_text(encoding="utf-8").split()


def test_a_sweep_uses_one_child_for_all_checks_of_a_target(tmp_path: Path) -> None:
    path = write(tmp_path / "layers.py", COUNTING + LAYERS)
    rows = list(sweep(target=path, N=range(4, 10), D=3, H=2))
    assert Counter(row.verdict for row in rows) == {Verdict.PASS: 6}
    assert len(pids(path)) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(pids(path)[0]), 0)


def test_the_rows_of_a_sweep_do_not_depend_on_earlier_checks(tmp_path: Path) -> None:
    """The third call of the backward function and all later ones are wrong; a new process begins anew."""
    count = "global calls; calls += 1\n    dx = dx * (1 if calls < 9 else 2)\n    return dx, dgamma, dbeta"
    source = COUNTING + "calls = 0\n" + changed(LAYERS, "return dx, dgamma, dbeta", count)
    path = write(tmp_path / "layers.py", source)
    rows = list(sweep(target=path, N=[4, 5, 6, 7, 8], D=3, H=2))
    # The first check includes the edge cases, so that it notices the count.
    assert [row.verdict for row in rows] == [Verdict.FAIL, *[Verdict.PASS] * 4]
    assert len(set(pids(path))) > 1


def test_code_whose_answers_change_gets_a_new_child(tmp_path: Path) -> None:
    source = COUNTING + changed(LAYERS, DX, DX + " + 1e-14 * np.random.default_rng().random()")
    path = write(tmp_path / "layers.py", source)
    assert {row.verdict for row in sweep(target=path, N=[4, 5, 6], D=3, H=2)} == {Verdict.PASS}
    assert len(set(pids(path))) == 3


def test_a_crash_ends_the_child_and_not_the_sweep(tmp_path: Path) -> None:
    crash = "def batchnorm_forward(x, gamma, beta, bn_param):\n    if len(x) == 6: os._exit(0)\n"
    source = changed(LAYERS, "def batchnorm_forward(x, gamma, beta, bn_param):\n", crash)
    path = write(tmp_path / "layers.py", COUNTING + source)
    rows = {row.point.N: row for row in sweep(target=path, N=[4, 6, 8, 9], D=3, H=2)}
    assert [rows[N].verdict for N in (4, 6, 8, 9)] == [Verdict.PASS, None, Verdict.PASS, Verdict.PASS]
    assert rows[6].message == f"{path} exited with code 0"
    assert len(set(pids(path))) == 2


def test_a_single_check_ends_its_child(check_file: CheckFile) -> None:
    check_file(COUNTING + LAYERS, edge_cases=False)
    assert children._idle == {}
    assert children._started == {}


def test_a_child_that_was_started_early_is_used_by_the_check(tmp_path: Path) -> None:
    path = write(tmp_path / "layers.py", COUNTING + LAYERS)
    children.start(path)
    assert check(random_problem(4, 3, 2), path, edge_cases=False).verdict is Verdict.PASS
    assert len(pids(path)) == 1


def test_an_idle_child_ends_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bncheck.execution.children.MAX_IDLE_SECONDS", 0.2)
    path = write(tmp_path / "layers.py", LAYERS)
    with children.kept_for_next_check():
        check(random_problem(4, 3, 2), path, edge_cases=False)
    ((remote, _),) = children._idle[path]
    deadline = time.monotonic() + 20
    while remote.child.failure is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert remote.child.failure is not None
    assert children._idle[path] == []


def test_a_child_that_only_received_large_arrays_is_not_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bncheck.execution.remote.MAX_REMEMBERED_BYTES", 0)
    path = write(tmp_path / "layers.py", COUNTING + LAYERS)
    assert {row.verdict for row in sweep(target=path, N=[4, 5, 6], D=3, H=2)} == {Verdict.PASS}
    assert len(set(pids(path))) == 3
