"""The table of options: Python signatures, the help and the command that reproduces a result agree with it."""

import inspect
import shlex
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import click
import pytest

import bncheck
from bncheck import InvalidInput, random_problem
from bncheck.cli.main import main
from bncheck.model.axis_values import format_values
from bncheck.model.components import NETWORK
from bncheck.model.options import (
    AXIS_OPTIONS,
    ENGINES,
    GRADIENTS,
    OLD_FLAGS,
    OPTIONS,
    SCHEME_NAMES,
    CheckOptions,
    build_command,
    parse_gradient_names,
    to_option_spelling,
)
from bncheck.numerical.schemes import SCHEMES
from bncheck.sweeps.grid import SweepPoint


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def parse(command: str) -> Mapping[str, Any]:
    name, *arguments = shlex.split(command)[1:]
    parsed = main.get_command(click.Context(main), name)
    assert parsed is not None
    return parsed.make_context(name, arguments).params


@pytest.mark.parametrize(
    "function",
    [random_problem, bncheck.check, bncheck.assert_gradients, bncheck.sweep, CheckOptions, SweepPoint],
    ids=lambda function: function.__name__,
)
def test_python_signatures_have_the_names_and_defaults_of_the_table(function: Callable[..., Any]) -> None:
    signature = defaults(function)
    shared = signature.keys() & OPTIONS.keys()
    assert shared
    if function is bncheck.assert_gradients:  # as bncheck smoke, on a small problem
        shared -= {"N", "D", "H"}
    for name in shared:
        value = parse_gradient_names(signature[name]) if name == "only" else signature[name]
        assert value == OPTIONS[name].default, name


def test_the_names_in_the_table_are_those_of_the_numerical_core() -> None:
    assert tuple(SCHEMES) == SCHEME_NAMES
    assert tuple(f"d{name}" for name in NETWORK.inputs) == GRADIENTS
    assert {field.name for field in fields(SweepPoint)} == {"target", *(option.name for option in AXIS_OPTIONS)}


@pytest.mark.parametrize(
    ("values", "command"),
    [
        ({"N": 6, "D": 5, "H": 4, "seed": 3}, "bncheck run --N 6 --D 5 --H 4 --seed 3"),
        ({"x_mean": 2.0, "x_std": 1.0, "step": 1e-4}, "bncheck run --x-mean 2 --step 0.0001"),
        ({"only": ("dW", "dgamma"), "rtol": 1e-5, "atol": None}, "bncheck run --only dW,dgamma --rtol 1e-05"),
        ({"edge_cases": False, "strict": True}, "bncheck run --no-edge-cases --strict"),
        ({"edge_cases": True, "only": GRADIENTS, "cross_check_entries": 8}, "bncheck run"),
    ],
)
def test_a_command_states_what_differs_from_the_defaults(values: Mapping[str, Any], command: str) -> None:
    assert build_command("run", ["reference"], values) == command


def test_a_command_can_be_pasted_into_a_shell() -> None:
    command = build_command("sweep", ["a b/*.py", "it's.py:net"], {"out": "my rows.jsonl", "resume": True})
    assert command == """bncheck sweep 'a b/*.py' 'it'"'"'s.py:net' --out 'my rows.jsonl' --resume"""
    assert parse(command)["targets"] == ("a b/*.py", "it's.py:net")


def test_the_reference_is_named_if_it_is_not_the_only_target() -> None:
    assert build_command("sweep", ["reference", "staged"], {}) == "bncheck sweep reference staged"


def test_every_value_of_a_command_is_parsed_as_it_was() -> None:
    values = {
        "N": (8, 9, 10, 11), "D": (5, 7), "H": (4,), "seed": (0, 1, 2), "bn_eps": (1e-5, 0.5),
        "x_mean": (0.0, 100.0), "x_std": (1.0, 0.4642, 0.2154, 0.1), "scheme": ("central", "complex"),
        "step": ("auto", 1e-3), "engine": "full", "only": ("dX", "f.dW"), "rtol": 1e-3, "atol": 0.0,
        "jobs": 3, "resume": True,
    }  # fmt: skip
    assert parse(build_command("sweep", ["reference"], values)).items() >= values.items()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((1, 2, 3, 4), "1..4"),
        ((1, 2), "1,2"),
        ((1, 2, 2**200), f"1,2,{2**200}"),
        ((4, 3, 2), "4,3,2"),
        ((0.1, 0.01, 0.001), "0.1..0.001"),
        ((1.0, 0.4642, 0.2154, 0.1), "1..0.1/3"),
        ((0.0, 1.5, 3.0), "0,1.5,3"),
        (("auto", 1e-05), "auto,1e-05"),
    ],
)
def test_ranges_are_written_as_ranges(values: tuple[Any, ...], text: str) -> None:
    assert format_values(values) == text


@pytest.mark.parametrize(
    ("message", "spelled"),
    [
        ("x_std must be a positive finite number, got 0", "--x-std must be a positive finite number, got 0"),
        ("N must be an integer of at least 1, got 0", "--N must be an integer of at least 1, got 0"),
        ("use a larger bn_eps, such as 1e-5, or N = 2", "use a larger --bn-eps, such as 1e-5, or N = 2"),
        ("`sample=5` requires `engine='full'`", "--sample 5 requires --engine full"),
        ("an `x_mean` closer to 0 or a larger `x_std`", "an --x-mean closer to 0 or a larger --x-std"),
        ("skipped (`edge_cases=False`)", "skipped (--no-edge-cases)"),
        ("`sigma` is not an option", "`sigma` is not an option"),
        ("batchnorm_backward raised ValueError: step", "batchnorm_backward raised ValueError: step"),
    ],
)
def test_the_command_line_shows_options_instead_of_parameters(message: str, spelled: str) -> None:
    assert to_option_spelling(message) == spelled


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "locale"}, "unknown engine 'locale'; did you mean 'local'?"),
        ({"step": 0.0}, "step must be 'auto' or a positive finite number, got 0.0"),
        ({"step": "small"}, "step must be 'auto' or a positive finite number, got 'small'"),
        ({"step": 1e-120}, "step must be at least 1e-100, got 1e-120"),
        ({"sample": 0, "engine": "full"}, "sample must be an integer of at least 1, got 0"),
        ({"sample": 5}, "`sample=5` requires `engine='full'` (the local engine checks every entry)"),
        ({"rtol": -1.0}, "rtol must be a finite number of at least 0, got -1.0"),
    ],
)
def test_an_invalid_option_is_reported_with_its_python_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as error:
        CheckOptions(**options)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "suggestion"), [("dgama", "dgamma"), ("f.dz", "f.dX"), ("backward.dgama", "backward.dgamma")]
)
def test_an_unknown_gradient_is_reported_with_the_nearest_one(name: str, suggestion: str) -> None:
    with pytest.raises(InvalidInput, match=f"unknown gradient '{name}'; did you mean '{suggestion}'"):
        parse_gradient_names([name])


def test_gradients_are_returned_in_the_order_of_a_report() -> None:
    assert parse_gradient_names(["f.dx", "db", "dw"]) == ("dW", "db", "f.dX")
    assert parse_gradient_names("dX") == ("dX",)
    with pytest.raises(InvalidInput, match="only must name at least one gradient"):
        parse_gradient_names([])


def test_old_spellings_are_accepted_and_hidden() -> None:
    for old, new in OLD_FLAGS.items():
        name = new.lstrip("-").replace("-", "_")
        assert parse(f"bncheck run {old}")[name] is parse(f"bncheck run {new}")[name] is True


def test_every_engine_and_scheme_is_explained_in_the_help() -> None:
    assert all(engine in OPTIONS["engine"].help for engine in ENGINES)
    assert all(scheme in OPTIONS["scheme"].axis_help for scheme in SCHEME_NAMES)
