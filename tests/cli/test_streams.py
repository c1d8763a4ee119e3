"""stdout and stderr of the process: encodings, colors, closed pipes, full disks."""

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

pytestmark = pytest.mark.process

SMALL = ("run", "--N", "6", "--D", "5", "--H", "4")
COMMAND = (sys.executable, "-m", "bncheck")


def process(
    arguments: Sequence[str], encoding: str = "utf-8", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    settings = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "80", **environment}
    return subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=60, env=settings, check=False)


def test_a_check_of_14750_entries_passes_and_writes_nothing_to_stderr() -> None:
    result = process(["run", "--N", "64", "--D", "100", "--H", "50"])
    assert result.returncode == 0
    assert result.stderr == b""
    assert "PASS  14,750 of 14,750 entries" in result.stdout.decode()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8", "utf-16"])
def test_a_report_is_written_in_the_encoding_of_stdout(encoding: str) -> None:
    result = process(SMALL, encoding=encoding)
    assert result.returncode == 0, result.stderr
    text = result.stdout.decode(encoding)
    arrow, rule = ("->", "-----") if not encoding.startswith("utf") else ("→", "─────")
    assert arrow in text
    assert rule in text
    assert max(map(len, text.splitlines())) <= 80


def test_colors_are_written_to_terminals_only_and_can_be_switched_off() -> None:
    assert b"\x1b[" not in process(SMALL).stdout
    assert b"\x1b[32m" in process(SMALL, FORCE_COLOR="1", TERM="xterm-256color").stdout
    uncolored = process(SMALL, FORCE_COLOR="1", NO_COLOR="1", TERM="xterm-256color").stdout
    assert b"\x1b[3" not in uncolored


def test_a_closed_pipe_is_not_an_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([*COMMAND, *SMALL], stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    assert result.stderr == b""
    assert result.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full exists on Linux only")
def test_a_full_disk_gives_a_one_line_error() -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run([*COMMAND, *SMALL], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert result.stderr == b"Error: cannot write to stdout: No space left on device\n"
    assert result.returncode == 2


def test_an_error_that_nobody_reads_keeps_its_exit_code() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([*COMMAND, "run", "--N", "0"], stderr=writer, timeout=60, check=False)
    os.close(writer)
    assert result.returncode == 2


def test_a_file_does_not_get_the_number_of_a_closed_standard_stream() -> None:
    open_file = "main.main = lambda **_: os._exit(os.open(os.devnull, os.O_RDONLY))"
    script = f"import os; from bncheck import __main__; from bncheck.cli import main; {open_file}; __main__.main()"
    close_streams = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    assert subprocess.run([*close_streams, sys.executable, "-c", script], timeout=60, check=False).returncode == 3


def test_a_check_without_standard_streams_has_its_exit_code() -> None:
    close_streams = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    assert subprocess.run([*close_streams, *COMMAND, *SMALL], timeout=60, check=False).returncode == 0
