"""The memory that the processes of the code under test use."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

# Memory that may be reserved for each processor without being used: stacks of threads, and buffers of a BLAS (OpenBLAS
# reserves 32 MB for each thread).
RESERVED_BYTES_PER_CPU = 2**26


def used_memory(pid: int) -> int:
    """Return the resident memory of a process and of all processes that it started, in bytes; 0 if it is unknown."""
    if sys.platform == "linux":
        processes = _descendants(pid)
        if len(processes) == 1:
            return _resident_bytes(pid)
        return sum(_proportional_bytes(process) for process in processes)
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        listing = subprocess.run(["/bin/ps", "-o", "rss=", "-g", str(pid)], capture_output=True, check=False, timeout=5)
        return 1024 * sum(map(int, listing.stdout.split()))
    return 0


def _descendants(pid: int) -> list[int]:
    """Return a process and all processes that it started."""
    processes = [pid]
    for process in processes:
        with suppress(OSError):  # it has ended
            for thread in os.listdir(f"/proc/{process}/task"):
                processes += map(int, Path(f"/proc/{process}/task/{thread}/children").read_bytes().split())
    return processes


def _resident_bytes(pid: int) -> int:
    """Return the memory of a process that no file backs, and that is not swapped out."""
    total = 0
    with suppress(OSError):  # it has ended
        for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
            if line.startswith((b"RssAnon:", b"RssShmem:")):
                total += 1024 * int(line.split()[1])
    return total


def _proportional_bytes(pid: int) -> int:
    """Return the memory of a process as ``_resident_bytes`` does, with a share of each page that a fork shares."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines()
    except OSError:  # it has ended, or does not let others read it
        return _resident_bytes(pid)
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith((b"Pss_Anon:", b"Pss_Shmem:")))


def uses_cuda(pid: int) -> bool:
    """Return whether a process has loaded CUDA, which reserves far more memory than it uses."""
    with suppress(OSError):
        return b"cuda" in Path(f"/proc/{pid}/maps").read_bytes()
    return False


def limit_data(pid: int, memory: int) -> None:
    """Make allocations of a process fail that would exceed a limit far more quickly than a poll can notice it.

    The limit is on memory that is reserved, so it leaves space for what is never used.
    """
    if sys.platform != "linux" or uses_cuda(pid):
        return
    import resource  # noqa: PLC0415 - not on Windows

    with suppress(OSError, ValueError, StopIteration):  # it has ended; a zombie has no VmData
        lines = Path(f"/proc/{pid}/status").read_bytes().splitlines()
        reserved = next(1024 * int(line.split()[1]) for line in lines if line.startswith(b"VmData:"))
        limit = reserved + memory + RESERVED_BYTES_PER_CPU * (os.cpu_count() or 1)
        _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.prlimit(pid, resource.RLIMIT_DATA, (limit, hard))
