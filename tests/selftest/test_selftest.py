"""The self-test measures what it claims, and fails if bncheck does."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bncheck import InvalidInput, Verdict, check, random_problem
from bncheck.cli.main import main
from bncheck.cli.smoke import SMOKE_SHAPE
from bncheck.mistakes import Mistake, all_mistakes
from bncheck.mistakes.injected import FaultyNetwork, faulty_layers
from bncheck.render.check_report import CheckReport
from bncheck.selftest.problems import hard_problem, plain_problem
from bncheck.selftest.sensitivity import ERROR_REGIONS, ERROR_SIZES, MUST_DETECT_FROM, SensitivityRecord, inject_errors
from bncheck.selftest.trials import selftest, smoke

FEW_MISTAKES = tuple(m for m in all_mistakes() if m.code in ("BN204", "BN301", "BN404", "BN504", "BN801"))
JSON_NAMES = {
    "mistakes": {"code", "name", "problems", "detected", "identified", "identified_as", "undetectable_because"},
    "false_alarm_trials": {"name", "problems", "inconclusive", "false_alarms"},
    "sensitivity_trials": {"size", "region", "injected", "detected"},
}


@pytest.fixture
def _few_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inject five mistakes, and check correct code on few problems."""
    monkeypatch.setattr("bncheck.selftest.trials.all_mistakes", lambda: FEW_MISTAKES)
    monkeypatch.setattr("bncheck.selftest.trials.FALSE_ALARM_TRIALS", 3)
    monkeypatch.setattr("bncheck.selftest.trials.SENSITIVITY_TRIALS", 1)


few_trials = pytest.mark.usefixtures("_few_trials")


def invoke(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(main, ["selftest", "--jobs", "1", *arguments])


@pytest.mark.process
@few_trials
@pytest.mark.parametrize("jobs", [1, 2])
def test_every_mistake_is_injected_into_every_problem_and_all_but_undetectable_ones_are_detected(jobs: int) -> None:
    result = selftest(2, jobs=jobs)
    assert result.passed
    counts = {m.code: (m.problems, m.detected, m.identified) for m in result.mistakes}
    assert counts == {m.code: (2, 0, 0) if m.undetectable_because else (2, 2, 2) for m in FEW_MISTAKES}
    assert [(t.name, t.problems, t.false_alarms) for t in result.false_alarm_trials] == [
        (name, 6, ()) for name in ("reference", "staged", "custom")
    ]
    assert {(t.size, t.region) for t in result.sensitivity_trials} == {
        (size, region) for size in ERROR_SIZES for region in ERROR_REGIONS
    }


@few_trials
def test_the_progress_counts_every_trial() -> None:
    calls: list[tuple[int, int]] = []
    selftest(1, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(n, 5 + 3 + 1) for n in range(1, 10)]


def test_smoke_injects_one_mistake_of_each_section_and_checks_the_reference_on_different_problems() -> None:
    result = smoke()
    assert result.passed
    assert [m.code[:3] for m in result.mistakes] == [f"BN{digit}" for digit in range(1, 9)]
    assert [(t.name, t.problems) for t in result.false_alarm_trials] == [("reference", 7)]
    assert (result.sensitivity_trials, result.resolution) == ((), None)


@pytest.mark.parametrize("mistake", [m for m in all_mistakes() if not m.undetectable_because], ids=lambda m: m.code)
def test_the_problem_and_edge_cases_of_smoke_reveal_every_mistake_in_a_target(mistake: Mistake) -> None:
    target = faulty_layers(mistake) if mistake.layer_only else FaultyNetwork(mistake)
    problem = random_problem(**SMOKE_SHAPE)
    result = check(problem, target, explain=False, edge_cases=False)
    if result.verdict is Verdict.PASS:  # then an edge case or a note must reveal it
        result = check(problem, target, explain=False)
    if mistake.is_side_effect:  # reported, but the gradients are correct
        assert f"; {mistake.name}" in CheckReport(result).headline
    else:
        assert result.verdict is Verdict.FAIL


@pytest.mark.process
@pytest.mark.parametrize("code", ["BN101", "BN204", "BN302", "BN401", "BN607"])
def test_smoke_fails_on_a_file_with_a_mistake(code: str, tmp_path: Path) -> None:
    path = tmp_path / "faulty.py"
    lines = (
        "from bncheck.mistakes import mistake_named",
        "from bncheck.mistakes.injected import FaultyNetwork",
        f"_network = FaultyNetwork(mistake_named({code!r}))",
        "forward, backward = _network.forward, _network.backward",
    )
    path.write_text("\n".join(lines), encoding="utf-8")
    result = CliRunner().invoke(main, ["smoke", str(path)])
    assert result.exit_code == 1, result.output
    assert code in result.stdout


def test_an_error_of_ten_resolutions_is_detected_in_every_region_and_one_of_a_tenth_in_none() -> None:
    for seed in range(6):
        for (size, region), detected in inject_errors(seed).detected.items():
            assert detected == 6 or size < MUST_DETECT_FROM, (seed, size, region)
            assert detected < 6 or size > 0.1, (seed, size, region)


@few_trials
def test_an_undetected_mistake_exits_1_and_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bncheck.selftest.trials.FaultyNetwork", lambda _: "reference")
    result = invoke("--problems", "2")
    assert result.exit_code == 1
    assert "  BN204  variance-term-missing: not detected on 2 of 2 problems.\n" in result.stdout
    assert "bncheck failed its own tests on this machine, see above" in " ".join(result.stdout.split())


@few_trials
def test_a_false_alarm_exits_1_and_is_listed_with_the_command_that_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_too_strictly(*arguments: object, **options: object) -> object:
        return check(*arguments, **{**options, "rtol": 1e-30, "atol": 0.0})  # type: ignore[arg-type]  # mypy cannot match a mapping with the options

    monkeypatch.setattr("bncheck.selftest.trials.check", check_too_strictly)
    result = invoke("--problems", "1")
    assert result.exit_code == 1
    assert re.search(r"\n  bncheck run --N \d+ --D \d+ --H \d+ --seed [012] ", result.stdout)


@few_trials
def test_an_undetected_error_of_ten_resolutions_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    detected = {
        (size, region): 5 if size == MUST_DETECT_FROM else 6 for size in ERROR_SIZES for region in ERROR_REGIONS
    }
    monkeypatch.setattr("bncheck.selftest.trials.inject_errors", lambda _: SensitivityRecord(1e-9, detected))
    assert invoke("--problems", "1").exit_code == 1


@few_trials
def test_a_detected_mistake_that_is_not_identified_is_listed_and_not_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bncheck.diagnosis.find_matches", lambda *_: [])
    result = invoke("--problems", "1")
    assert result.exit_code == 0
    assert "  BN204  variance-term-missing: always detected, not identified.\n" in result.stdout


@few_trials
def test_a_report_on_an_undetectable_mistake_is_a_false_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bncheck.selftest.trials.inject", lambda mistake, _: mistake.code)
    result = invoke("--problems", "3")
    assert result.exit_code == 1
    assert "  BN404  mask-includes-zero is not an error but was reported 3 times.\n" in result.stdout


@few_trials
def test_the_json_document_contains_the_results_of_the_tables() -> None:
    document = json.loads(invoke("--problems", "1", "--format", "json").stdout)
    assert document["schema"] == "bncheck/2"
    assert document["passed"] is True
    assert [m["code"] for m in document["mistakes"]] == [m.code for m in FEW_MISTAKES]
    for name, keys in JSON_NAMES.items():
        assert all(record.keys() == keys for record in document[name])
    assert {trial["region"] for trial in document["sensitivity_trials"]} == set(ERROR_REGIONS)
    assert 0 < document["resolution"] < 1e-6
    assert document.keys() == {"schema", "passed", *JSON_NAMES, "resolution", "seconds"}


@pytest.mark.parametrize("option", ["--problems", "--jobs"])
def test_a_number_below_1_gives_a_one_line_error(option: str) -> None:
    result = CliRunner().invoke(main, ["selftest", option, "0"])
    assert result.exit_code == 2
    assert result.stderr == f"Error: {option} must be an integer of at least 1, got 0\n"
    with pytest.raises(InvalidInput, match="problems must be an integer of at least 1, got 0"):
        selftest(0)


def test_the_random_problems_are_reproducible_and_include_batches_of_one_and_two() -> None:
    assert hard_problem(5).X.tolist() == hard_problem(5).X.tolist()
    assert {1, 2} <= {hard_problem(seed).N for seed in range(40)}
    assert all(plain_problem(seed).N >= 3 for seed in range(40))
    assert check(plain_problem(0)).verdict is Verdict.PASS


@pytest.mark.slow
def test_every_mistake_is_detected_on_50_problems_and_correct_code_passes_on_2000() -> None:
    result = selftest(50, jobs=2)
    assert result.passed
    detectable = [m for m in result.mistakes if not m.undetectable_because]
    assert all((m.problems, m.detected) == (50, 50) for m in detectable)
    assert sum(m.identified for m in detectable) >= 0.98 * 50 * len(detectable)
    assert all((t.problems, t.false_alarms) == (2000, ()) for t in result.false_alarm_trials)
