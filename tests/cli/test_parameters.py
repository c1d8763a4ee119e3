"""The values of options: numbers, lists, ranges, and the errors for others."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from bncheck.cli.main import main
from bncheck.cli.parameters import axis_type
from bncheck.model.options import OPTIONS


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("8,64,256", (8, 64, 256)),
        ("0..9", tuple(range(10))),
        ("9..7", (9, 8, 7)),
        ("1..3,10", (1, 2, 3, 10)),
        ("4..4", (4,)),
        ("", ()),
    ],
)
def test_integers_can_be_lists_and_ranges(text: str, values: tuple[int, ...]) -> None:
    assert axis_type(OPTIONS["seed"]).convert(text, None, None) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1e-1..1e-4", (0.1, 0.01, 0.001, 0.0001)),
        ("1e-4..1e-2", (1e-4, 1e-3, 1e-2)),
        ("1..0.1/3", (1.0, 0.4642, 0.2154, 0.1)),
        ("auto,1e-5", ("auto", 1e-5)),
        ("5e-3..1e-5", (5e-3, 5e-4, 5e-5)),
        ("1e300..1e303", (1e300, 1e301, 1e302, 1e303)),
    ],
)
def test_a_range_of_real_numbers_has_values_per_decade(text: str, values: tuple[object, ...]) -> None:
    assert axis_type(OPTIONS["step"]).convert(text, None, None) == values


def test_a_range_can_span_every_decade_of_float64() -> None:
    values = axis_type(OPTIONS["step"]).convert("1e308..1e-308", None, None)
    assert list(values) == [float(f"1e{exponent}") for exponent in range(308, -309, -1)]
    assert len(axis_type(OPTIONS["step"]).convert("5e-324..1", None, None)) == 324


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--N", "1..x"], "--N must be an integer of at least 1, got 'x'"),
        (["--N", "8..64/2"], "invalid range '8..64/2': integers are written as 0..9, or as a list 8,64,256"),
        (["--N", "0"], "--N must be an integer of at least 1, got 0"),
        (["--step", "0..1e-3"], "invalid range '0..1e-3': it needs two positive numbers, as in 1e-1..1e-12"),
        (["--step", "auto..1e-3"], "invalid range 'auto..1e-3'"),
        (["--step", "1e-1..1e-3/0"], "at least 1 value per decade is required, got 0"),
        (["--step", "1e-1..1e-3/x"], "at least 1 value per decade is required, got x"),
        (["--step", "1e-1..1e-3/9999999"], "'1e-1..1e-3/9999999' expands to 19,999,998 values; the limit is 1,000,000"),
        (["--step", "0"], "--step must be 'auto' or a positive finite number, got 0.0"),
        (["--x-mean", "-1..1"], "it needs two positive numbers, as in 1e-1..1e-12; list others: 0,1.5"),
        (["--seed", ""], "seed"),
        (["--seed", "0..99999999"], "'0..99999999' expands to 100,000,000 values; the limit is 1,000,000"),
        (["--scheme", "central,richards"], "unknown scheme 'richards'; did you mean 'richardson'?"),
        (["--gamma", "1,2"], "No such option"),
        (["--jobs", "0"], "--jobs must be an integer of at least 1, got 0"),
        (["--out", "/nowhere/rows.jsonl"], "cannot write /nowhere/rows.jsonl: No such file or directory"),
        (["nothing.py"], "no such file: 'nothing.py'"),
        (["layers\0.py"], r"'layers\x00.py' cannot be the name of a file: embedded null byte"),
        (["--out", "\ud800"], r"'\ud800' cannot be the name of a file: 'utf-8' codec can't encode"),
    ],
)
def test_an_invalid_axis_is_a_one_line_error(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["sweep", *arguments])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_the_command_to_resume_a_sweep_keeps_the_pattern_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    for name in ("a.py", "b.py"):
        Path(name).touch()
    monkeypatch.setattr("bncheck.cli.sweep_run.run_grid", interrupt)
    arguments = ["sweep", "*.py", "--N", "8", "--seed", "0..2", "--out", "my rows.jsonl", "--jobs", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 130
    command = "bncheck sweep '*.py' --N 8 --D 100 --H 50 --seed 0..2 --out 'my rows.jsonl' --resume"
    assert result.stderr == f"Interrupted after 0 of 6 checks. Resume with: {command}\n"
