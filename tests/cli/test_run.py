"""``bncheck run`` and ``bncheck smoke``: options, documents and exit codes."""

import json
import re
from collections.abc import Sequence

import pytest
from click.testing import CliRunner, Result

import bncheck
from bncheck.cli.main import main

SMALL = ("run", "--N", "6", "--D", "5", "--H", "4")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="bncheck")


@pytest.mark.parametrize(("verdict", "options"), [("pass", ()), ("inconclusive", ("--step", "1e-14"))])
def test_stdout_contains_the_json_document_and_nothing_else(verdict: str, options: Sequence[str]) -> None:
    result = invoke(*SMALL, *options, "--format", "json")
    assert result.exit_code == (0 if verdict == "pass" else 1)
    assert result.stderr == ""
    assert json.loads(result.stdout)["verdict"] == verdict


@pytest.mark.parametrize(
    "options",
    [
        ("--seed", "3"),
        ("--bn-eps", "0.25", "--x-mean", "2", "--x-std", "0.125"),
        ("--scheme", "richardson"),
        ("--step", "0.0001234567891234567"),
        ("--engine", "full", "--sample", "3"),
        ("--only", "dW,dgamma"),
        ("--rtol", "0.001", "--atol", "1e-07"),
    ],
)
def test_the_reproducing_command_contains_every_option(options: Sequence[str]) -> None:
    first = json.loads(invoke(*SMALL, *options, "--format", "json").stdout)
    words = first["reproduce"].split()
    assert words[0] == "bncheck"
    assert set(options) <= set(words)
    second = json.loads(invoke(*words[1:], "--format", "json").stdout)
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def gradients(*options: str) -> dict[str, dict[str, object]]:
    """Return the gradients of the JSON document by name."""
    content = json.loads(invoke(*SMALL, *options, "--format", "json").stdout)
    return {g["name"]: g for g in content["gradients"]}


def test_only_selects_gradients_in_the_order_of_a_report() -> None:
    assert list(gradients("--only", "db, dX")) == ["dX", "db"]


def test_sample_is_the_number_of_checked_entries() -> None:
    assert {g["checked"] for g in gradients("--engine", "full", "--sample", "3").values()} == {3}


def test_scheme_changes_the_resolution() -> None:
    central, complex_step = gradients(), gradients("--scheme", "complex")
    assert float(str(complex_step["dX"]["resolution"])) < float(str(central["dX"]["resolution"])) / 100


def test_the_version_is_printed() -> None:
    assert invoke("--version").stdout == f"bncheck {bncheck.__version__}\n"


def test_smoke_prints_one_line_and_exits_with_0() -> None:
    result = invoke("smoke")
    assert result.exit_code == 0
    assert result.stdout.startswith("PASS  8 of 8 ")
    assert result.stdout.count("\n") == 1


def test_smoke_fails_if_an_injected_mistake_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bncheck.selftest.trials.FaultyNetwork", lambda _: "reference")
    result = invoke("smoke")
    assert result.exit_code == 1
    assert re.search(r"BN201 .*: not detected on 1 of 1 problems\.", result.stdout)


def test_smoke_shows_the_commands_of_checks_that_did_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    problems: tuple[object, ...] = (((4, 3, 2), {}), ((4, 3, 2), {"x_mean": 1e15}))
    monkeypatch.setattr("bncheck.selftest.trials.SMOKE_PROBLEMS", problems)
    result = invoke("smoke")
    assert result.exit_code == 1
    assert re.search(r"reference +2 +1 +1\n", result.stdout)  # problems, false alarms, inconclusive checks
    assert "  bncheck run --N 4 --D 3 --H 2 --seed 1 --x-mean 1000000000000000\n" in result.stdout
