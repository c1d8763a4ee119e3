"""The command line as a process sees it: words, streams, exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import bncheck
from bncheck.cli import signals
from bncheck.cli.exit_codes import ExitCode
from bncheck.cli.main import main
from bncheck.cli.run import run
from bncheck.targets.loading import IN_NOTEBOOK, expand_pattern
from tests.samples import LAYERS

SMALL = ("run", "--N", "6", "--D", "5", "--H", "4")
COMMAND = (sys.executable, "-m", "bncheck")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="bncheck")


def process(
    arguments: Sequence[str], encoding: str = "utf-8", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    settings = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "80", **environment}
    return subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=60, env=settings, check=False)


def test_the_main_job_exits_0_and_checks_14750_numbers() -> None:
    result = process(["run", "--N", "64", "--D", "100", "--H", "50"])
    assert result.returncode == 0
    assert result.stderr == b""
    assert "PASS  14,750 of 14,750 entries agree within their error bars." in result.stdout.decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--N", "0"], "N is 0; it must be a whole number, 1 or larger"),
        (["run", "--D", "-3"], "D is -3"),
        (["run", "--H", "6.5"], "'6.5' is not a whole number, 1 or larger"),
        (["run", "--N", "many"], "'many' is not a whole number"),
        (["run", "--N", "9" * 5000], f"'{'9' * 40}...' is not a whole number"),
        (["run", "--N", "1000000", "--D", "1000000"], "TB of memory and this machine has"),
        (["run", "--seed", "-1"], "seed is -1"),
        (["run", "--step", "0"], "step is 0.0; it must be a number above 0"),
        (["run", "--step", "nan"], "step is nan"),
        (["run", "--step", "inf"], "step is inf"),
        (["run", "--step", "-1e-5"], "step is -1e-05"),
        (["run", "--step", "small"], "'small' is not a number above 0, such as 1e-5, or auto"),
        (["run", "--bn-eps", "-1"], "--bn-eps is -1.0; it must be a number from 0 to 1e+200"),
        (["run", "--bn-eps", "0", "--N", "1"], "take a larger --bn-eps, such as 1e-5"),
        (["run", "--x-std", "0"], "--x-std is 0.0; it must be a finite number above 0"),
        (["run", "--x-mean", "nan"], "--x-mean is nan"),
        (["run", "layers.py"], "no such file: 'layers.py'"),
        (["run", "tests/"], "'tests/' is a directory; name a file in it, such as 'tests/*.py'"),
        (["run", "nothing*.py"], "no file matches 'nothing*.py'"),
        (["run", "no_such_module"], "no module named 'no_such_module'; to check a file, include its .py suffix"),
        (["run", "layers.ipynb"], "no module named 'layers'"),
        (["run", "not-a-module"], "unknown target 'not-a-module': expected a .py file, a module, reference or staged"),
        (
            ["run", "--timeout", "0", "tests/oracles.py"],
            "timeout must be a number of seconds above 0, at most 604,800, got 0",
        ),
        (["run", "--scheme", "midpoint"], "'midpoint' is not one of 'forward', 'central'"),
        (["run", "--engine", "gpu"], "'gpu' is not one of 'local', 'full'"),
        (["run", "--format", "pdf"], "'pdf' is not one of 'table', 'json'"),
        (["run", "--only", "dgama"], "no gradient 'dgama'; did you mean dgamma?"),
        (["run", "--sample", "5"], "--sample 5 needs --engine full"),
        (["run", "--sample", "0", "--engine", "full"], "sample is 0"),
        (["run", "--rtol", "-1"], "rtol is -1.0"),
        (["run", "--eps", "1e-5"], "--bn-eps is batch norm's constant, --step the finite-differ"),
        (["--eps", "1e-5"], "--bn-eps is batch norm's constant, --step the finite-difference"),
        (["run", "--verbose"], "--verbose"),
        (["run", "--N"], "requires an argument"),
        (["rum"], "No such command 'rum'"),
    ],
)
def test_bad_input_is_one_sentence_on_stderr_and_exit_2(arguments: list[str], said: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr


@pytest.mark.parametrize("command", ["run", "sweep", "smoke"])
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("notes.txt", "'notes.txt' is not a .py file; if it contains Python code, rename it to 'notes.py'"),
        ("./notes.txt", "'./notes.txt' is not a .py file; if it contains Python code, rename it to './notes.py'"),
        ("notes.txt:solution", "'notes.txt' is not a .py file; if it contains Python code, rename it to 'notes.py'"),
        ("notes*", "'notes.txt' is not a .py file; if it contains Python code, rename it to 'notes.py'"),
        ("layers", "'layers' is not a .py file; if it contains Python code, rename it to 'layers.py'"),
        ("week 1", "'week 1' is not a .py file; if it contains Python code, rename it to 'week 1.py'"),
        ("old.bak", "'old.bak' is not a .py file; did you mean 'old.py'?"),
        ("old/net.py", "no such file: 'old/net.py'"),
        ("./old", "no such file: './old'; did you mean './old.py'?"),
        ("my-layers", "unknown target 'my-layers': expected a .py file, a module, reference or staged; did you mean"),
        (
            "lesson.ipynb",
            "'lesson.ipynb' is a notebook, which bncheck does not load; in one of its cells, run bncheck.",
        ),
        ("folder", "'folder' is a directory; name a file in it, such as 'folder/*.py'"),
        ("folder.py", "'folder.py' is a directory; name a file in it, such as 'folder.py/*.py'"),
        (".", "'.' is a directory; name a file in it, such as './*.py'"),
        ("it's", "\"it's\" is a directory; name a file in it, such as 'it'\"'\"'s/*.py'"),
        ("/dev/null", "'/dev/null' is not a regular file; name a .py file"),
    ],
)
def test_a_path_that_exists_is_refused_as_what_it_is_with_a_suggestion(
    command: str, target: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("notes.txt", "layers", "week 1", "old.bak", "old.py", "lesson.ipynb", "my-layers.py"):
        Path(name).touch()
    for name in ("folder", "folder.py", "it's"):
        Path(name).mkdir()
    result = invoke(command, target)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {said}")
    assert result.stderr.count("\n") == 1


def test_a_name_that_can_be_imported_is_a_module_even_if_a_file_or_folder_has_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("layers", "layers.py", "pkg/__init__.py", "pkg/part.py", "pkg.part"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    for name in ("reference", "staged"):
        Path(name).mkdir()
    for target in ("layers", "pkg", "pkg.part", "reference", "staged"):
        assert expand_pattern(target) == [target]


def test_the_call_that_is_suggested_for_a_notebook_checks_the_functions_of_its_namespace() -> None:
    namespace: dict[str, object] = {"bncheck": bncheck}
    exec(LAYERS, namespace)
    result = eval(IN_NOTEBOOK, namespace)
    assert result.verdict is bncheck.Verdict.PASS
    assert "batchnorm_backward.dx" in result.gradients


def test_no_command_shows_the_help_and_exits_2() -> None:
    result = invoke()
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


@pytest.mark.parametrize(("verdict", "options"), [("pass", ()), ("inconclusive", ("--step", "1e-14"))])
def test_the_json_document_is_on_stdout_alone(verdict: str, options: Sequence[str]) -> None:
    result = invoke(*SMALL, *options, "--format", "json")
    assert result.exit_code == (0 if verdict == "pass" else 1)
    assert result.stderr == ""
    content = json.loads(result.stdout)
    assert (content["schema"], content["verdict"]) == ("bncheck/1", verdict)


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
def test_every_option_reaches_the_command_that_reproduces_the_check(options: Sequence[str]) -> None:
    first = json.loads(invoke(*SMALL, *options, "--format", "json").stdout)
    again = first["reproduce"].split()
    assert again[0] == "bncheck"
    assert set(options) <= set(again)
    second = json.loads(invoke(*again[1:], "--format", "json").stdout)
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def test_the_options_do_what_they_say() -> None:
    def gradients(*options: str) -> dict[str, dict[str, object]]:
        content = json.loads(invoke(*SMALL, *options, "--format", "json").stdout)
        return {g["name"]: g for g in content["gradients"]}

    assert list(gradients("--only", "db, dX")) == ["dX", "db"]
    sampled = gradients("--engine", "full", "--sample", "3")
    assert {g["checked"] for g in sampled.values()} == {3}
    usual, other = gradients(), gradients("--scheme", "complex")
    assert float(str(other["dX"]["resolution"])) < float(str(usual["dX"]["resolution"])) / 100


def test_every_option_is_explained_with_its_default_under_a_heading() -> None:
    text = invoke("run", "-h").stdout
    assert [word for word in ("Problem:", "Scheme:", "Target:", "Judgement:", "Output:") if word in text] == [
        "Problem:", "Scheme:", "Target:", "Judgement:", "Output:"
    ]  # fmt: skip
    for option in run.params:
        if option.param_type_name == "option" and option.name != "help":
            entry = text.split(option.opts[0] + " ")[1].split("\n  --")[0]
            assert "[default:" in " ".join(entry.split()), option.name


@pytest.mark.parametrize("arguments", [["-h"], ["run", "-h"], ["smoke", "-h"]])
def test_help_texts_are_ascii_and_fit_80_columns(arguments: list[str]) -> None:
    text = invoke(*arguments).stdout
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 80


def test_the_version_is_told() -> None:
    assert invoke("--version").stdout == "bncheck 0.1.0\n"


def test_smoke_is_one_line_and_exits_0() -> None:
    result = invoke("smoke")
    assert result.exit_code == 0
    assert result.stdout.startswith("PASS  8 of 8 planted mistakes are caught, no false alarm on 7 problems, ")
    assert result.stdout.count("\n") == 1


def test_smoke_fails_where_a_planted_mistake_is_not_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bncheck.selftest.trials.FaultyNetwork", lambda _: "reference")
    result = invoke("smoke")
    assert result.exit_code == 1
    assert "BN201  statistics-taken-constant: missed in 1 of 1." in result.stdout


def test_smoke_shows_the_checks_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    problems: tuple[object, ...] = (((4, 3, 2), {}), ((4, 3, 2), {"x_mean": 1e15}))
    monkeypatch.setattr("bncheck.selftest.trials.SMOKE_PROBLEMS", problems)
    result = invoke("smoke")
    assert result.exit_code == 1
    assert re.search(r"reference +2 +1 +1\n", result.stdout)  # problems, alarms, inconclusive
    assert "  bncheck run --N 4 --D 3 --H 2 --seed 1 --x-mean 1000000000000000\n" in result.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8", "utf-16"])
def test_any_encoding_of_stdout_is_respected(encoding: str) -> None:
    result = process(SMALL, encoding=encoding)
    assert result.returncode == 0, result.stderr
    text = result.stdout.decode(encoding)
    arrow, rule = ("->", "-----") if not encoding.startswith("utf") else ("→", "─────")
    assert arrow in text
    assert rule in text
    assert max(map(len, text.splitlines())) <= 80


def test_no_colour_is_written_to_a_file_and_none_where_it_is_declined() -> None:
    assert b"\x1b[" not in process(SMALL).stdout
    assert b"\x1b[32m" in process(SMALL, FORCE_COLOR="1", TERM="xterm-256color").stdout
    uncoloured = process(SMALL, FORCE_COLOR="1", NO_COLOR="1", TERM="xterm-256color").stdout
    assert b"\x1b[3" not in uncoloured


def test_a_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([*COMMAND, *SMALL], stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    assert result.stderr == b""
    assert result.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a Linux device")
def test_a_full_disk_is_one_sentence_and_exit_2() -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run([*COMMAND, *SMALL], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert result.stderr == b"Error: cannot write the result: No space left on device\n"
    assert result.returncode == 2


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_an_interrupted_full_engine_check_says_how_far_it_came(number: signal.Signals, code: ExitCode) -> None:
    arguments = ["run", "--engine", "full", "--N", "300", "--D", "300", "--H", "50"]
    # Every entry that is done is told on stderr, so that the signal comes in the middle of them.
    script = (
        "import signal, sys, bncheck.cli.run as r; from bncheck.cli import main; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # a background job ignores it
        "r.silent = lambda *_: print('done', file=sys.stderr, flush=True); "
        "main(prog_name='bncheck')"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    assert running.stderr.readline() == "done\n"
    running.send_signal(number)
    out, err = running.communicate(timeout=30)
    assert running.returncode == code
    assert "of 120,150 entries were checked, none is wrong" in " ".join(out.split())
    assert "PASS" not in out
    assert err.replace("done\n", "").startswith("Interrupted after ")
    assert "Traceback" not in err


def test_a_crash_of_ours_does_not_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("bncheck.cli.run.check", crash)
    result = invoke(*SMALL)
    assert result.exit_code == 2
    assert result.stderr.endswith("Error: this is a bug in bncheck, not in the code under test\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_compiled_code_makes_an_error_of_is_still_one(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swallow(*_: object, **__: object) -> None:  # as numpy's comparison of structures does
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise TypeError("Cannot compare structured arrays") from None

    monkeypatch.setattr("bncheck.cli.run.check", swallow)
    before = signal.signal(number, signal.default_int_handler)  # it may be ignored where tests run
    try:
        result = invoke(*SMALL)
    finally:
        signal.signal(number, before)
    assert result.exit_code == 128 + number
    assert result.stderr == "Interrupted.\n"


def killed_within(number: int, torn: list[str]) -> None:
    with signals.defer_signals():
        os.kill(os.getpid(), number)
        torn.append("file")
        torn.append("tally")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_waits_until_what_belongs_together_is_done(number: signal.Signals) -> None:
    before, torn = signal.signal(number, signal.default_int_handler), list[str]()
    try:
        with signals.handle_signals(), pytest.raises(KeyboardInterrupt):
            killed_within(number, torn)
    finally:
        signal.signal(number, before)
    assert torn == ["file", "tally"]
    assert signals.received_signals == [number]


def test_an_interruption_that_python_dropped_in_a_destructor_is_raised_at_the_next_occasion(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Dying:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with signals.handle_signals():
            dying = Dying()
            del dying  # nothing is raised, and nothing said
            with pytest.raises(KeyboardInterrupt), signals.defer_signals():
                assert signals.received_signals == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == ""


def test_importing_bncheck_imports_neither_optional_extras_nor_click() -> None:
    script = (
        "import sys, bncheck; "
        "print([m for m in ('torch', 'jax', 'dask', 'matplotlib', 'click', 'rich') "
        "if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
