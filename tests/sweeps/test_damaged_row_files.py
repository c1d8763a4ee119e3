"""Row files with damaged lines: every command reads them, or says which line is wrong."""

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sweep_helpers import OPTIONS, invoke

OLD_ROWS = Path(__file__).with_name("rows_of_bncheck_0_1.jsonl")
SWEEP = ("sweep", *OPTIONS, "--seed", "0..2", "--step", "auto,1e-3")

# JSON that Python's parser accepts, most of it of the wrong type.
VALUES = [
    "null", "true", "false", "0", "-1", "1", "1.5", "1e999", "-1e999", "NaN", "Infinity", "1e-400", "9" * 400,
    "-" + "9" * 4000, "9" * 5000, '""', '"x"', '"nan"', '"inf"', '"auto"', '"pass"', '"8"', '"\\u0000"', '"\\ud800"',
    '"\\u001b[31m"', "[]", "{}", "[null]", "[[1]]", '{"a": {}}', '{"dX": []}',
    "[" * 400 + "]" * 400, '"' + "y" * 9999 + '"',
    "1e300", "-0.0", "9223372036854775808", '["a", 1]', '{"dX": {"verdict": "pass"}}',
]  # fmt: skip


def paths_of(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a JSON document."""
    yield path
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from paths_of(value, (*path, key))


def change_value(line: bytes, rng: random.Random) -> bytes:
    """Replace a value by any other one."""
    content = json.loads(line)
    path = rng.choice(list(paths_of(content)))
    marker, parent = "replaced by the mutation", content
    for key in path[:-1]:
        parent = parent[key]
    if path:
        parent[path[-1]] = marker
    return json.dumps(content if path else marker).replace(f'"{marker}"', rng.choice(VALUES), 1).encode()


def remove_or_repeat_field(line: bytes, rng: random.Random) -> bytes:
    """Remove a field, or write it a second time with another value."""
    content = json.loads(line)
    parent = rng.choice([content, *(g for g in [*content["gradients"].values()] if isinstance(g, dict))])
    key = rng.choice(list(parent))
    if rng.random() < 0.5:
        del parent[key]
        return json.dumps(content).encode()
    return line.replace(f'"{key}":'.encode(), f'"{key}": {rng.choice(VALUES)}, "{key}":'.encode(), 1)


def damage_bytes(line: bytes, rng: random.Random) -> bytes:
    """Overwrite, insert or remove bytes, also with bytes that are not UTF-8."""
    position, length = rng.randrange(len(line)), rng.choice([0, 1, 3, 50])
    return line[:position] + rng.randbytes(rng.choice([0, 1, 2, 8])) + line[position + length :]


def replace_line(line: bytes, rng: random.Random) -> bytes:
    """Return a line that is not an object, is nested too deeply, is cut off or is in another encoding."""
    return rng.choice([
        rng.choice(VALUES).encode(), b"[" * 100_000, b'{"a":' * 100_000, line[: rng.randrange(len(line))], b"",
        line.decode().encode("utf-16"), b"\xef\xbb\xbf" + line, b"\0" * 40, line + line, line + b"\n" + line,
    ])  # fmt: skip


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    change_value, change_value, change_value, remove_or_repeat_field, damage_bytes, replace_line,
)  # fmt: skip


def damaged_files(lines: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Yield the contents of row files with one to three damaged lines."""
    rng = random.Random(seed)
    for _ in range(count):
        damaged = list(lines)
        for number in rng.sample(range(len(lines)), rng.choice([1, 1, 2, 3])):
            damaged[number] = rng.choice(MUTATIONS)(damaged[number], rng)
        yield b"\n".join(damaged) + b"\n" * rng.choice([0, 1, 1, 2])


@pytest.mark.parametrize(("count", "seed"), [(300, 0), pytest.param(3000, 1, marks=pytest.mark.slow)])
def test_a_damaged_row_file_is_read_or_refused_in_one_line(
    count: int, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("rows.jsonl")
    assert invoke(*SWEEP, "--out", str(path)).exit_code == 0
    report, resume = ("report", str(path), "--format", "junit"), (*SWEEP, "--out", str(path), "--resume")
    lines, old_lines = (file.read_bytes().splitlines() for file in (path, OLD_ROWS))
    refused = 0
    files = [*damaged_files(lines, count // 2, seed), *damaged_files(old_lines, count // 2, seed)]
    for number, content in enumerate(files):
        for command in (report, resume)[: 2 if number < count // 2 else 1]:
            path.write_bytes(content)
            result = invoke(*command)
            assert result.exit_code in (0, 1, 2), (content, result.output)
            if not result.stderr:
                continue
            refused += 1
            assert result.exit_code == 2
            assert re.fullmatch(r"Error: [^\n]*rows\.jsonl[^\n]{,300}\n", result.stderr), (content, result.output)
            assert path.read_bytes() == content
    assert count < refused < 1.5 * count


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("checked", "x", "'checked' must be an integer of at least 0, got 'x'"),
        ("checked", -1, "'checked' must be an integer of at least 0, got -1"),
        ("N", "8", "N must be an integer of at least 1, got '8'"),
        ("N", [8], "N must be a single value, got [8]"),
        ("seed", 2**200, "seed must be at most 2**128, got an integer of 201 bits"),
        ("x_mean", "0", "x-mean must be a finite number, got '0'"),
        ("scheme", {"a": 1}, "scheme must be a single value, got {'a': 1}"),
        ("scheme", None, "unknown scheme 'None'; choose from"),
        ("step", None, "step must be 'auto' or a positive finite number, got 'None'"),
        ("target", None, "target must be the name of a file or module in a sweep, got None"),
        ("verdict", "maybe", "'verdict' must be pass, inconclusive or fail, or null, got 'maybe'"),
        ("verdict", [], "'verdict' must be pass, inconclusive or fail, or null, got []"),
        ("seconds", 1e300, "'seconds' must be a number of seconds, got 1e+300"),
        ("notes", "none", "'notes' must be a list of strings, got 'none'"),
        ("gradients", {"dX": 3}, "'dX' must be an object, got 3"),
        ("gradients", {"d\x00": {}}, "the name of a gradient must be printable, got 'd\\x00'"),
        ("reproduce", "\ud800", "'reproduce' must be a command, got '\\ud800'"),
        (
            "gradients",
            {"dX": {"relative_error": "0"}},
            "'relative_error' must be a number from 0 to 2, or null, got '0'",
        ),
    ],
)
def test_a_field_of_the_wrong_type_is_reported_with_its_line_and_value(
    field: str, value: object, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    invoke(*SWEEP, "--out", str(path))
    first, second, *rest = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([first, json.dumps(json.loads(second) | {field: value}) + "\n", *rest]), encoding="utf-8")
    for command in (("report", str(path)), (*SWEEP, "--out", str(path), "--resume")):
        result = invoke(*command)
        assert result.exit_code == 2
        assert f"line 2 of {path} is not a sweep row: " in result.stderr
        assert message in result.stderr


def test_infinite_errors_of_a_row_are_shown_as_no_correct_digits(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    invoke("sweep", *OPTIONS, "--out", str(path))
    content = json.loads(path.read_text(encoding="utf-8"))
    content["gradients"]["dX"] |= {"relative_error": "inf", "tolerance_ratio": "nan", "resolution": "inf"}
    path.write_text(f"{json.dumps(content)}\n", encoding="utf-8")
    result = invoke("report", str(path))
    assert result.exit_code == 0
    assert re.search(r"^  all +0\.0 ", result.stdout, re.MULTILINE)


def test_a_row_that_occurs_twice_is_resumed_as_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    invoke(*SWEEP, "--out", str(path))
    path.write_bytes(path.read_bytes() * 2)
    assert "6: 6 pass" in invoke(*SWEEP, "--out", str(path), "--resume").stdout
