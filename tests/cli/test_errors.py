"""Errors of the command line: one line on stderr, and exit code 2."""

import errno
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import bncheck
from bncheck.cli.main import main
from bncheck.targets.loading import IN_NOTEBOOK, expand_pattern
from tests.samples import LAYERS


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="bncheck")


STEP = "--step must be 'auto' or a positive finite number, got"


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--N", "0"], "--N must be an integer of at least 1, got 0"),
        (["run", "--D", "-3"], "--D must be an integer of at least 1, got -3"),
        (["run", "--H", "6.5"], "--H must be an integer of at least 1, got '6.5'"),
        (["run", "--N", "many"], "--N must be an integer of at least 1, got 'many'"),
        (["run", "--N", "9" * 5000], "--N must be an integer of at least 1, got '999999999999...9999999999999'"),
        (["run", "--N", "1000000", "--D", "1000000"], "GB are available ("),
        (["run", "--seed", "-1"], "--seed must be an integer of at least 0, got -1"),
        (["run", "--step", "0"], f"{STEP} 0.0"),
        (["run", "--step", "nan"], f"{STEP} nan"),
        (["run", "--step", "inf"], f"{STEP} inf"),
        (["run", "--step", "-1e-5"], f"{STEP} -1e-05"),
        (["run", "--step", "small"], f"{STEP} 'small'"),
        (["run", "--step", "1e-120"], "--step must be at least 1e-100, got 1e-120"),
        (["run", "--bn-eps", "-1"], "--bn-eps "),
        (["run", "--bn-eps", "0", "--N", "1"], "a larger --bn-eps, such as 1e-5"),
        (["run", "--bn-eps", "tiny"], "--bn-eps must be a number, got 'tiny'"),
        (["run", "--x-std", "0"], "--x-std "),
        (["run", "--x-mean", "nan"], "--x-mean "),
        (["run", "layers.py"], "no such file: 'layers.py'"),
        (["run", "tests/"], "'tests/' is a directory; name a file in it, such as 'tests/*.py'"),
        (["run", "nothing*.py"], "no file matches 'nothing*.py'"),
        (["run", "no_such_module"], "no module named 'no_such_module'; to check a file, include its .py suffix"),
        (["run", "layers.ipynb"], "no module named 'layers'"),
        (["run", "not-a-module"], "unknown target 'not-a-module': expected a .py file, a module, reference or staged"),
        (["run", "--timeout", "0", "tests/oracles.py"], "timeout "),
        (["run", "--scheme", "centrl"], "unknown scheme 'centrl'; did you mean 'central'?"),
        (["run", "--engine", "gpu"], "unknown engine 'gpu'; choose from local, full"),
        (["run", "--format", "pdf"], "unknown format 'pdf'; choose from table, json, markdown, junit, github"),
        (["run", "--only", "dgama"], "unknown gradient 'dgama'; did you mean 'dgamma'?"),
        (["run", "--sample", "5"], "--sample 5 requires --engine full (the local engine checks every entry)"),
        (["run", "--sample", "0", "--engine", "full"], "--sample must be an integer of at least 1, got 0"),
        (["run", "--rtol", "-1"], "--rtol must be a finite number of at least 0, got -1.0"),
        (["run", "--eps", "1e-5"], "--eps is ambiguous; use --bn-eps (constant in batch norm) or --step"),
        (["--eps", "1e-5"], "--eps is ambiguous; use --bn-eps (constant in batch norm) or --step"),
        (["run", "--verbose"], "--verbose"),
        (["run", "--N"], "requires an argument"),
        (["rum"], "No such command 'rum'"),
        (["sweep", "--resume"], "--resume requires --out"),
        (["sweep", "--jobs", "2", "--dask", "tcp://127.0.0.1:1"], "--jobs and --dask cannot be combined"),
        (["report"], "Missing argument 'FILES...'"),
        (["selftest", "--problems", "0"], "--problems must be an integer of at least 1, got 0"),
    ],
)
def test_an_invalid_option_is_a_one_line_error_and_exit_code_2(arguments: list[str], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_running_out_of_memory_is_an_error_and_not_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("bncheck.cli.checks.check", allocate)
    result = invoke("run")
    assert (result.exit_code, result.stderr) == (2, "Error: out of memory; use a smaller --N, --D or --H\n")


def test_an_internal_error_does_not_exit_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("bncheck.cli.checks.check", crash)
    result = invoke("run")
    assert result.exit_code == 2
    message = "Error: internal error in bncheck, not in the code under test; please report it\n"
    assert result.stderr.endswith(message)


@pytest.mark.parametrize("error", [EOFError(), BrokenPipeError(errno.EPIPE, "Broken pipe"), SystemExit(0)])
def test_an_exception_by_which_click_ends_a_command_is_an_internal_error(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("bncheck.cli.checks.check", fail)
    result = invoke("run")
    assert result.exit_code == 2
    assert "internal error in bncheck" in result.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/data"), " on '/data': Permission denied"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), ": Resource temporarily unavailable"),
        (OSError("cannot load library"), ": cannot load library"),
    ],
)
def test_an_error_of_the_system_that_nothing_describes_names_the_file_and_claims_no_operation(
    error: OSError, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("bncheck.cli.checks.check", fail)
    result = invoke("run")
    assert (result.exit_code, result.stderr) == (2, f"Error: the system refused an operation{message}\n")


def test_a_removed_working_directory_is_named_as_the_reason_of_an_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        (tmp_path / "removed").rmdir()
        os.getcwd()

    (tmp_path / "removed").mkdir()
    monkeypatch.chdir(tmp_path / "removed")
    monkeypatch.setattr("bncheck.cli.checks.check", fail)
    result = invoke("run")
    message = "the working directory cannot be used (No such file or directory); change to another one"
    assert (result.exit_code, result.stderr) == (2, f"Error: {message}\n")


def test_without_a_command_the_help_is_shown_and_the_exit_code_is_2() -> None:
    result = invoke()
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


@pytest.mark.parametrize("command", ["run", "sweep", "smoke"])
@pytest.mark.parametrize(
    ("target", "message"),
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
def test_a_path_that_is_not_a_python_file_is_rejected_with_a_suggestion(
    command: str, target: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("notes.txt", "layers", "week 1", "old.bak", "old.py", "lesson.ipynb", "my-layers.py"):
        Path(name).touch()
    for name in ("folder", "folder.py", "it's"):
        Path(name).mkdir()
    result = invoke(command, target)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {message}")
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
