"""The exit codes of all commands."""

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # numpy, which the help of a command does not need
    from bncheck.model.verdict import Verdict


class ExitCode(enum.IntEnum):
    """The exit codes of all commands; for a signal, its number plus 128."""

    PASS = 0
    NOT_PASSED = 1  # a check failed or was inconclusive
    COULD_NOT_RUN = 2  # invalid options, or the code under test did not load
    INTERRUPTED = 130
    TERMINATED = 143

    @classmethod
    def from_verdict(cls, verdict: "Verdict") -> "ExitCode":
        """Return 0 for a pass and 1 for any other verdict."""
        return cls.PASS if verdict.name == cls.PASS.name else cls.NOT_PASSED
