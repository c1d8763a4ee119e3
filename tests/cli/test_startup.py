"""The command line starts without the packages that only a check needs."""

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

pytestmark = pytest.mark.process

SLOW_PACKAGES = ("numpy", "rich", "matplotlib", "distributed", "multiprocessing", "ctypes")
# Runs a command and prints which of the packages it imported.
SCRIPT = f"""
import contextlib, io, sys
from bncheck.cli.main import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(prog_name="bncheck")
print([name for name in {SLOW_PACKAGES} if name in sys.modules])
"""


def imported_packages(arguments: Sequence[str], **environment: str) -> str:
    command = [sys.executable, "-c", SCRIPT, *arguments]
    settings = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=settings).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--version",), ("-h",), ("run", "-h"), ("sweep", "-h"), ("report", "-h"), ("smoke", "-h"), ("selftest", "-h"),
        ("derive", "-h"), ("explain", "-h"), ("template",), ("run", "--N", "many"), ("sweep", "--scheme", "centrl"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_help_version_and_invalid_options_need_no_slow_package(arguments: Sequence[str]) -> None:
    assert imported_packages(arguments) == "[]\n"


@pytest.mark.parametrize(
    ("words", "position"), [("bncheck r", 1), ("bncheck run --sc", 2), ("bncheck run --scheme f", 3)]
)
def test_shell_completion_needs_no_slow_package(words: str, position: int) -> None:
    environment = {"_BNCHECK_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position)}
    assert imported_packages([], **environment) == "[]\n"


def test_a_table_needs_rich_and_explain_needs_no_numpy() -> None:
    assert imported_packages(["explain", "BN204"]) == "['rich']\n"


def test_importing_bncheck_imports_no_optional_package_and_nothing_of_the_command_line() -> None:
    packages = ("torch", "jax", "dask", "matplotlib", "click", "rich", "numpy")
    script = f"import sys, bncheck; print([name for name in {packages} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
