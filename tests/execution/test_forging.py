"""Code under test that tries to forge a verdict although its gradients are wrong.

The files are in ``samples/forging``; each is appended to layer functions without the variance term of dx. Code that
computes correct gradients in any other way is not a forgery: bncheck judges what the code returns.
"""

import json
import random
import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bncheck import random_problem
from bncheck.errors import TargetEnded, TargetError
from bncheck.execution import messages
from bncheck.execution.remote import RemoteTarget
from bncheck.targets.target import Call, PairCall
from tests.samples import LAYERS, WRONG_LAYERS, Sample, samples

TIMEOUT_SECONDS = 300
SMALL = ("--N", "8", "--D", "5", "--H", "4", "--call-timeout", "10")
FORGING = samples("forging")
# Every way to end a process at every moment; the others end it with os._exit only.
WAYS_TO_END = ("abort_", "kill_", "sigterm_", "sys_exit_")
TYPICAL = [sample for sample in FORGING if not sample.path.name.startswith(WAYS_TO_END)]
KILL_THE_PARENT = """
import os, signal
def batchnorm_backward(dout, cache):
    os.kill(os.getppid(), signal.{name})
    signal.pause()
"""


def run_bncheck(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a command; neither an internal error nor a traceback of bncheck may be in its messages."""
    ended = subprocess.run(
        [sys.executable, "-m", "bncheck", *arguments],
        cwd=directory, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    assert "Traceback" not in ended.stderr
    assert "bug in bncheck" not in ended.stderr
    return ended


def write_files(forging: Iterable[Sample], directory: Path) -> list[str]:
    """Write the forging files and, as the last one, a correct file; return their names."""
    names = []
    for sample in forging:
        names.append(sample.path.name)
        (directory / sample.path.name).write_text(WRONG_LAYERS + sample.code, encoding="utf-8")
    (directory / "good.py").write_text(LAYERS, encoding="utf-8")
    return [*names, "good.py"]


def require_expected(sample: Sample, verdict: str | None, error: str | None) -> None:
    """Fail if a verdict, or the reason why there is none, is not that of the sample."""
    assert verdict != "pass", sample
    if sample.expected.startswith("could not run"):
        assert verdict is None, sample
        assert all(part in (error or "") for part in sample.message_parts), (str(sample), error)
    elif sample.expected != "not pass":
        assert verdict == sample.expected, (str(sample), error)


@pytest.mark.process
@pytest.mark.parametrize("forging", [TYPICAL, pytest.param(FORGING, marks=pytest.mark.slow)], ids=["typical", "all"])
def test_no_file_forges_a_verdict_of_run_and_the_next_file_is_judged(forging: list[Sample], tmp_path: Path) -> None:
    ended = run_bncheck(
        "run", *write_files(forging, tmp_path), *SMALL, "--no-edge-cases", "--format", "json", directory=tmp_path
    )
    documents = json.loads(ended.stdout)
    assert ended.returncode == 1
    assert len(documents) == len(forging) + 1
    assert documents[-1]["verdict"] == "pass"
    for sample, document in zip(forging, documents[:-1], strict=True):
        require_expected(sample, document["verdict"], document.get("error"))


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("sample", FORGING, ids=str)
def test_no_file_forges_a_verdict_of_smoke_or_of_a_sweep(sample: Sample, tmp_path: Path) -> None:
    name, _ = write_files([sample], tmp_path)
    assert run_bncheck("smoke", name, "--call-timeout", "10", directory=tmp_path).returncode in {1, 2}
    for jobs in ("1", "2"):
        rows = tmp_path / f"rows{jobs}.jsonl"
        ended = run_bncheck(
            "sweep", name, *SMALL, "--seed", "0,1", "--jobs", jobs, "--out", str(rows), directory=tmp_path
        )
        assert ended.returncode in {1, 2}
        verdicts = [json.loads(line)["verdict"] for line in rows.read_text(encoding="utf-8").splitlines()]
        assert len(verdicts) == 2
        assert "pass" not in verdicts


@pytest.mark.process
@pytest.mark.parametrize(("name", "code"), [("SIGKILL", -9), ("SIGTERM", 143)])
def test_a_command_whose_process_the_code_kills_ends_by_the_signal(name: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "kills.py").write_text(WRONG_LAYERS + KILL_THE_PARENT.format(name=name), encoding="utf-8")
    ended = run_bncheck("run", "kills.py", *SMALL, directory=tmp_path)
    assert ended.returncode in {code, -15} if name == "SIGTERM" else ended.returncode == code


@pytest.mark.process
def test_a_sweep_goes_on_after_the_code_killed_its_workers(tmp_path: Path) -> None:
    (tmp_path / "kills.py").write_text(WRONG_LAYERS + KILL_THE_PARENT.format(name="SIGKILL"), encoding="utf-8")
    (tmp_path / "good.py").write_text(LAYERS, encoding="utf-8")
    arguments = ("sweep", "kills.py", "good.py", *SMALL, "--seed", "0,1", "--jobs", "2", "--out", "rows.jsonl")
    assert run_bncheck(*arguments, directory=tmp_path).returncode == 1
    rows = map(json.loads, (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines())
    verdicts = sorted((row["target"], row["verdict"]) for row in rows)
    assert verdicts == [("good.py", "pass")] * 2 + [("kills.py", None)] * 2


def _right_messages() -> tuple[Call, PairCall, list[bytes]]:
    """Return a pair call and the messages of right answers: names, functions, and the values of the pair."""
    p = random_problem(4, 3, 2)
    forward = Call("relu_forward", (p.dout,), {})
    function = {
        "parameters": [["x", "positional", False]], "has_parameters": True, "is_routine": True,
        "source": ["layers.py", 3], "words": ["x"],
    }  # fmt: skip
    value = {"dtype": "float64", "error": "", "array": 0}
    backward = {"description": "an array", "is_sequence": False, "keys": None, "values": [{**value, "array": 1}]}
    side_effects = [["relu_forward", "relu_forward", 0, False]]
    headers: list[tuple[dict[str, Any], list[Any]]] = [
        ({"id": 0, "names": ["relu_forward", "relu_backward"], "only": "", "modifications": []}, []),
        ({"id": 1, "functions": {"relu_forward": function}, "modifications": []}, []),
        (
            {"id": 2, "output": value, "backward": backward, "not_implemented": "", "modifications": side_effects},
            [p.dout, p.dout],
        ),
        ({"id": 4, "outputs": 1, "modifications": []}, [p.dout[None]]),
    ]
    sent = []
    for header, arrays in headers:
        parts: list[bytes] = []
        messages.send(lambda data, parts=parts: parts.append(bytes(data)), header, arrays)  # type: ignore[misc]  # mypy infers no type for the default
        sent.append(b"".join(parts))
    return forward, PairCall(forward, "relu_backward", p.dout), sent


FORWARD, PAIR, RIGHT = _right_messages()


def fake_child(data: bytes) -> SimpleNamespace:
    """Return what a RemoteTarget uses of a ChildProcess; it delivers bytes and then ends."""
    received = memoryview(data)
    child = SimpleNamespace(target="layers.py", failure="", write=lambda _: None, limit_memory=lambda: None)

    def end(failure: str) -> TargetEnded:
        child.failure = failure
        return TargetEnded(failure)

    def read_into(buffer: memoryview) -> None:
        nonlocal received
        if len(received) < len(buffer):
            raise end("ended")
        buffer[:], received = received[: len(buffer)], received[len(buffer) :]

    child.end, child.read_into = end, read_into
    return child


def answers(data: bytes) -> Iterator[object]:
    """Yield what a RemoteTarget takes bytes for."""
    remote = RemoteTarget(fake_child(data))  # type: ignore[arg-type]  # a stub
    remote.open()
    yield remote.names, remote.only
    yield remote.functions(["relu_forward"])
    yield remote.run_pair(PAIR)
    yield list(remote.run_forward(FORWARD, PAIR.dout.shape, 0, np.array([1]), np.array([0.5])))


JSON_VALUES = (
    "null", "true", "-1", "0", "3", "1e999", "NaN", "-0.5", str(2**31), str(2**62), str(2**63), str(10**400), '""',
    '"|O"', '"<f8"', '"\\ud800"', "[]", "{}", "[[]]", '["x"]', "[" * 9000 + "]" * 9000, '{"array": 0}',
)  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return a message with another JSON value, or with other, fewer or more bytes."""
    kind = rng.randrange(5)
    if kind >= 2:  # replace a random part of the JSON value, and keep the length consistent
        length = messages.LENGTH.unpack_from(data)[0]
        header, arrays = json.loads(data[4 : 4 + length]), data[4 + length :]
        places: list[tuple[Any, Any]] = []
        pending = [header]
        for container in pending:
            for key in list(container) if isinstance(container, dict) else range(len(container)):
                places.append((container, key))
                if isinstance(container[key], dict | list):
                    pending.append(container[key])
        container, key = rng.choice(places)
        container[key] = "MUTATED"
        text = json.dumps(header).replace('"MUTATED"', rng.choice(JSON_VALUES)).encode()
        return messages.LENGTH.pack(len(text)) + text + arrays
    position = rng.randrange(len(data))
    if kind == 1:
        return data[:position] + rng.randbytes(rng.randrange(8)) + data[position + rng.randrange(8) :]
    return data[:position] + bytes([rng.randrange(256)]) + data[position + 1 :]


def test_a_right_answer_is_parsed_from_the_bytes_of_a_child() -> None:
    names, functions, pair, outputs = answers(b"".join(RIGHT))
    assert names == (("relu_forward", "relu_backward"), "")
    assert functions
    assert np.array_equal(pair.output.array, PAIR.dout)  # type: ignore[attr-defined]  # a PairReturn
    assert np.array_equal(outputs[0], PAIR.dout)  # type: ignore[index]  # a list of arrays


@pytest.mark.parametrize("shape", [[0, 2**62], [0, 2**62, 2**62], [2**40, 2**40, 0], [2**62, 2**62], [1] * 33])
def test_an_array_of_a_size_that_numpy_does_not_have_ends_the_target(shape: list[int]) -> None:
    header = {"id": 0, "names": [], "only": "", "modifications": [], "arrays": [["<f8", shape, False]]}
    text = json.dumps(header).encode()
    with pytest.raises(TargetEnded, match="wrote to a file descriptor"):
        list(answers(messages.LENGTH.pack(len(text)) + text))


@pytest.mark.parametrize("part", range(len(RIGHT)))
def test_a_mutated_answer_is_parsed_or_ends_the_target(part: int) -> None:
    rng, ended = random.Random(part), 0
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(500):
        parts = list(RIGHT)
        parts[part] = mutate(parts[part], rng)
        try:
            list(answers(b"".join(parts)))
        except TargetError:  # TargetEnded is one
            ended += 1
    assert ended > 50
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 50_000  # kB
