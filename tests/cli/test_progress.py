"""The progress display: a bar on a terminal, lines in a log."""

import io
import sys

import pytest

from bncheck.cli.progress import ProgressDisplay


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that advances by the given seconds at each call."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


def show(stream: io.StringIO, seconds: float, monkeypatch: pytest.MonkeyPatch, *, log: bool = False) -> str:
    """Return what is written during a thousand items that take this time each."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("bncheck.cli.progress.time", Clock(seconds))
    with ProgressDisplay("checks", log=log) as progress:
        for done in range(1, 1001):
            progress.update(done, 1000, "3 failed")
    return stream.getvalue()


def test_a_terminal_shows_a_bar_that_is_removed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    text = show(Terminal(), 0.01, monkeypatch)
    assert "of 1,000 checks" in text
    assert "\x1b[?25l" in text.partition("checks")[0]  # the cursor is hidden before anything is shown
    assert "3 failed" in text
    assert text.endswith("\x1b[2K")


def test_a_short_command_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(Terminal(), 0.0001, monkeypatch) == ""


def test_a_log_has_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = show(io.StringIO(), 0.1, monkeypatch, log=True).splitlines()
    assert lines[0] == "  101 of 1,000 checks   10 per s   0:01:31 left   3 failed"
    assert len(lines) == 9


def test_a_stream_that_is_not_a_terminal_shows_nothing_without_log(monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(io.StringIO(), 1.0, monkeypatch) == ""


def test_a_closed_stderr_is_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with ProgressDisplay("entries") as progress:
        progress.update(1, 2)
