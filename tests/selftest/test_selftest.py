"""The selftest proves what it says, and fails where the checker does."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bncheck import InvalidInput, Verdict, check, random_problem
from bncheck.cli.main import main
from bncheck.cli.smoke import SMOKE_SHAPE
from bncheck.mistakes import CATALOGUE, LAYER_ONLY, SIDE_EFFECTS, Mistake
from bncheck.mistakes.injected import FaultyNetwork, faulty_layers
from bncheck.render.check_report import CheckReport
from bncheck.selftest.trials import (
    ERROR_REGIONS,
    ERROR_SIZES,
    MUST_DETECT_FROM,
    _small,
    hard_problem,
    plain_problem,
    selftest,
)

FEW = tuple(m for m in CATALOGUE if m.code in ("BN204", "BN301", "BN404", "BN504", "BN801"))


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant few mistakes, and try little right code."""
    monkeypatch.setattr("bncheck.selftest.trials.CATALOGUE", FEW)
    monkeypatch.setattr("bncheck.selftest.trials.FALSE_ALARM_TRIALS", 3)
    monkeypatch.setattr("bncheck.selftest.trials.SENSITIVITY_TRIALS", 1)


few = pytest.mark.usefixtures("_few")


def invoke(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(main, ["selftest", "--jobs", "1", *arguments])


@few
def test_every_mistake_is_planted_in_every_problem_and_what_cannot_be_seen_is_said_to_be() -> None:
    result = selftest(2)
    assert result.passed
    outcomes = {o.code: (o.problems, o.detected, o.identified) for o in result.mistakes}
    assert outcomes == {m.code: (2, 0, 0) if m.undetectable_because else (2, 2, 2) for m in FEW}
    assert [(r.name, r.problems, r.false_alarms) for r in result.right] == [
        (name, 6, ()) for name in ("reference", "staged", "foreign")
    ]
    assert {(s.size, s.place) for s in result.small} == {
        (size, place) for size in ERROR_SIZES for place in ERROR_REGIONS
    }


@pytest.mark.parametrize("mistake", [m for m in CATALOGUE if not m.undetectable_because], ids=lambda m: m.code)
def test_the_problem_and_probes_of_smoke_show_every_mistake_in_a_target(mistake: Mistake) -> None:
    target = faulty_layers(mistake) if mistake.code in LAYER_ONLY else FaultyNetwork(mistake)
    problem = random_problem(**SMOKE_SHAPE)
    result = check(problem, target, explain=False, edge_cases=False)
    if result.verdict is Verdict.PASS:  # then a probe must show it, or a remark
        result = check(problem, target, explain=False)
    if mistake.code in SIDE_EFFECTS:  # worth knowing, and not wrong
        assert f"; {mistake.text.name}" in CheckReport(result).headline
    else:
        assert result.verdict is Verdict.FAIL


@pytest.mark.parametrize("code", ["BN101", "BN204", "BN302", "BN401", "BN607"])
def test_smoke_fails_on_a_file_with_a_mistake(code: str, tmp_path: Path) -> None:
    path = tmp_path / "planted.py"
    lines = (
        "from bncheck.mistakes import mistake_named",
        "from bncheck.mistakes.injected import Planted",
        f"_planted = Planted(mistake_named({code!r}))",
        "forward, backward = _planted.forward, _planted.backward",
    )
    path.write_text("\n".join(lines), encoding="utf-8")
    result = CliRunner().invoke(main, ["smoke", str(path)])
    assert result.exit_code == 1, result.output
    assert code in result.stdout


def test_an_error_of_ten_times_the_resolution_is_seen_wherever_it_is() -> None:
    for seed in range(6):
        for (size, place), seen in _small(seed)[1].items():
            assert seen == 6 or size < MUST_DETECT_FROM, (seed, size, place)
            assert seen < 6 or size > 0.1, (seed, size, place)


@few
def test_a_mistake_that_is_missed_exits_1_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bncheck.selftest.trials.FaultyNetwork", lambda _: "reference")
    result = invoke("--problems", "2")
    assert result.exit_code == 1
    assert "  BN204  variance-path-dropped: missed in 2 of 2.\n" in result.stdout
    assert "bncheck cannot be relied on here" in result.stdout


@few
def test_a_false_alarm_exits_1_and_is_told_by_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: object, **options: object) -> object:
        return check(*arguments, **{**options, "rtol": 1e-30, "atol": 0.0})  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr("bncheck.selftest.trials.check", failing)
    result = invoke("--problems", "1")
    assert result.exit_code == 1
    assert re.search(r"\n  bncheck run --N \d+ --D \d+ --H \d+ --seed [012] ", result.stdout)


@few
def test_a_large_planted_error_that_is_missed_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    missed = {(size, place): 5 if size == MUST_DETECT_FROM else 6 for size in ERROR_SIZES for place in ERROR_REGIONS}
    monkeypatch.setattr("bncheck.selftest.trials._small", lambda _: (1e-9, missed))
    assert invoke("--problems", "1").exit_code == 1


@few
def test_what_is_named_otherwise_is_told_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bncheck.diagnosis.named", lambda *_: [])
    result = invoke("--problems", "1")
    assert result.exit_code == 0
    assert "  BN204  variance-path-dropped: always caught, taken for ?.\n" in result.stdout


@few
def test_the_document_holds_what_the_table_does() -> None:
    document = json.loads(invoke("--problems", "1", "--format", "json").stdout)
    assert document["passed"] is True
    assert [m["code"] for m in document["mistakes"]] == [m.code for m in FEW]
    assert {s["place"] for s in document["small"]} == set(ERROR_REGIONS)
    assert 0 < document["resolution"] < 1e-6


@pytest.mark.parametrize("option", ["--problems", "--jobs"])
def test_a_number_below_1_is_refused_in_a_sentence(option: str) -> None:
    result = CliRunner().invoke(main, ["selftest", option, "0"])
    assert result.exit_code == 2
    assert result.stderr == f"Error: {option} must be an integer of at least 1, got 0\n"
    with pytest.raises(InvalidInput, match="is 0; take 1 or more"):
        selftest(0)


def test_the_problems_are_the_same_each_time_and_cover_the_smallest_batches() -> None:
    assert hard_problem(5).X.tolist() == hard_problem(5).X.tolist()
    assert {1, 2} <= {hard_problem(seed).N for seed in range(40)}
    assert all(plain_problem(seed).N >= 3 for seed in range(40))
    assert check(plain_problem(0)).verdict is Verdict.PASS


@pytest.mark.slow
def test_every_mistake_is_caught_and_named_on_50_problems_and_2000_right_ones_pass() -> None:
    result = selftest(50, jobs=2)
    assert result.passed
    outcomes = [o for o in result.mistakes if not o.undetectable_because]
    assert all((o.problems, o.detected) == (50, 50) for o in outcomes)
    assert sum(o.identified for o in outcomes) >= 0.98 * 50 * len(outcomes)
    assert all((r.problems, r.false_alarms) == (2000, ()) for r in result.right)
