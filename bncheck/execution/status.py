"""What a parent knows of its child process without a message: the number and name of its calls, and its exit code.

The calls are in memory that both processes share. The parent can read it at any time, also while the code under test
holds the interpreter.
"""

import mmap
import os
import struct
import sys

STATUS_BYTES = 4096
# The exit code of a child if the code under test has closed its pipe.
PIPE_CLOSED = 81
_COUNTER = struct.Struct("<Q")
# Bytes of the name.
_MAX_NAME = 200


def create_status_file() -> int:
    """Return the file descriptor of a new file of STATUS_BYTES without a name."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("bncheck")
    else:
        import tempfile  # noqa: PLC0415 - slow import, not needed on Linux

        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, STATUS_BYTES)
    return descriptor


def write_status(memory: mmap.mmap, calls: int, name: str) -> None:
    """Write the number of calls so far, and the name of the current one."""
    encoded = name.encode(errors="replace")[:_MAX_NAME]
    memory[_COUNTER.size : _COUNTER.size + len(encoded) + 1] = encoded + b"\0"
    _COUNTER.pack_into(memory, 0, calls)


def read_call_count(memory: mmap.mmap) -> int:
    """Return the number of calls that have begun."""
    count: int = _COUNTER.unpack_from(memory)[0]
    return count


def read_call_name(memory: mmap.mmap) -> str:
    """Return the name of the current or last call."""
    content = memory[_COUNTER.size : _COUNTER.size + _MAX_NAME]
    return content.partition(b"\0")[0].decode(errors="replace")
