"""The limits of the code under test."""

import re
from typing import TYPE_CHECKING, NamedTuple

from bncheck.errors import InvalidInput
from bncheck.model.memory import needed_bytes

if TYPE_CHECKING:  # numpy, which a child process does not wait for
    from bncheck.model.problem import Problem

# A week; far longer waits overflow in the operating system.
MAX_TIMEOUT_SECONDS = 604_800.0
# Memory that the code under test may use in addition to what the problem needs; the libraries that it imports need a
# part of it (torch 2.13 on a CPU: 0.3 GB).
EXTRA_MEMORY_BYTES = 2 * 10**9
_MEMORY = re.compile(r"(\d+(?:\.\d*)?(?:e\d+)?)\s*([kMGT]?)i?B?", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class Limits(NamedTuple):
    """What the code under test may use."""

    call_timeout: float  # seconds for each call of a function
    timeout: float  # seconds for all calls of a check
    memory: int  # bytes of resident memory of its processes

    @classmethod
    def parse(cls, call_timeout: float, timeout: float, memory: str | int | None, problem: "Problem") -> "Limits":
        """Return the limits for a problem, from the options of ``check``.

        Raises
        ------
        InvalidInput
            A limit is out of its range.
        """
        for name, value in (("call_timeout", call_timeout), ("timeout", timeout)):
            if not 0 < value <= MAX_TIMEOUT_SECONDS:
                limit = f"at most {MAX_TIMEOUT_SECONDS:,.0f}"
                raise InvalidInput(f"{name} must be a number of seconds above 0, {limit}, got {value}")
        if memory is not None:
            return cls(call_timeout, timeout, _parse_memory(memory))
        return cls(call_timeout, timeout, EXTRA_MEMORY_BYTES + needed_bytes(problem.N, problem.D, problem.H))


def _parse_memory(memory: str | int) -> int:
    """Return a number of bytes for a text such as "1.5GB"."""
    match = _MEMORY.fullmatch(str(memory).strip())
    size = float(match[1]) * _UNITS[match[2].lower()] if match else 0.0
    if not 1 <= size < 2**63:
        raise InvalidInput(f"memory must be a size such as 1.5GB or 500MB, got {memory!r}")
    return int(size)
