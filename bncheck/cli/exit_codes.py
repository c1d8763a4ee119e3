"""What the exit code says."""

import enum

from bncheck.model.verdict import Verdict


class ExitCode(enum.IntEnum):
    """The exit codes of every command; a signal adds its number to 128."""

    PASS = 0
    NOT_PASSED = 1  # something returned is wrong, or the check was inconclusive
    COULD_NOT_RUN = 2  # bad usage, or the code under test gave no answer
    INTERRUPTED = 130
    TERMINATED = 143

    @classmethod
    def from_verdict(cls, verdict: Verdict) -> "ExitCode":
        """Return the exit code of a verdict: only a pass is 0."""
        return cls.PASS if verdict is Verdict.PASS else cls.NOT_PASSED
