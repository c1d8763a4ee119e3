"""The memory that a check needs, and the memory that is available to this process."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bncheck.errors import InvalidInput

# Peak memory of a check in float64 arrays of the size of X (or dX), W and h: the problem, the analytic and numerical
# gradients, the error bounds and their intermediate values. Measured with tracemalloc on shapes that each make one
# kind of array dominate, rounded up (tests/model/test_memory.py checks it).
ARRAYS_LIKE_X, ARRAYS_LIKE_W, ARRAYS_LIKE_H = 15, 17, 20
# A check that needs less is run without a look at the limits, which takes 0.4 ms: longer than drawing its problem.
MIN_CHECKED_BYTES = 2**24
# Memory that is assumed if the system does not report any (Windows): 16 GiB.
ASSUMED_MEMORY_BYTES = 2**34

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# By the version of cgroups: the files with the limit and the usage, and the fields of memory.stat that count the page
# cache, which is part of the usage although the kernel frees it on demand.
CGROUP_FILES = {
    "2": ("memory.max", "memory.current", ("inactive_file", "active_file")),
    "1": ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
}


def needed_bytes(N: int, D: int, H: int) -> int:
    """Estimate the peak memory of a check of these sizes, in bytes."""
    return 8 * (ARRAYS_LIKE_X * N * D + ARRAYS_LIKE_W * D * H + ARRAYS_LIKE_H * N * H)


def available_bytes() -> int:
    """Return the memory that this process can still allocate, in bytes: the least of all limits."""
    return min(_limits())[0]


def require_memory(N: int, D: int, H: int) -> None:
    """Check that a check of these sizes fits into the available memory.

    Raises
    ------
    InvalidInput
        It does not; the message names the limit.
    """
    needed = needed_bytes(N, D, H)
    if needed < MIN_CHECKED_BYTES:
        return
    available, limit = min(_limits())
    if needed > available:
        raise InvalidInput(
            f"N = {N:,}, D = {D:,}, H = {H:,} needs about {needed / 1e9:,.1f} GB of memory; {available / 1e9:,.1f} GB "
            f"are available ({limit}); use smaller sizes"
        )


def _limits() -> Iterator[tuple[int, str]]:
    """Yield the bytes that each limit leaves to this process, and the name of the limit."""
    system = _fields(PROC / "meminfo").get("MemAvailable")
    yield (_physical_memory(), "memory of this machine") if system is None else (system, "free memory")
    yield from _cgroup_limits()
    yield from _process_limits()


def _cgroup_limits() -> Iterator[tuple[int, str]]:
    """Yield what the cgroups of this process and their parents leave.

    In a container the path of a group can be one that the container does not contain; its own group is then the root.
    """
    for line in _read(PROC / "self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        version, root = ("1", CGROUPS / "memory") if controllers else ("2", CGROUPS)
        if controllers and "memory" not in controllers.split(","):
            continue
        limit_file, usage_file, cache_fields = CGROUP_FILES[version]
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            with suppress(ValueError):  # "max", or a file that does not exist
                limit = int(_read(folder / limit_file))
                statistics = _fields(folder / "memory.stat")
                cache = sum(statistics.get(name, 0) for name in cache_fields)
                yield max(0, limit - max(0, int(_read(folder / usage_file)) - cache)), "cgroup limit"
            if folder == root:
                break


def _process_limits() -> Iterator[tuple[int, str]]:
    """Yield what the limits of ``ulimit`` leave to this process."""
    with suppress(ImportError):  # Windows has no such limits
        import resource  # noqa: PLC0415 - not on Windows

        usage = _fields(PROC / "self/status")
        for number, field, name in ((resource.RLIMIT_AS, "VmSize", "-v"), (resource.RLIMIT_DATA, "VmData", "-d")):
            limit, _ = resource.getrlimit(number)
            if limit != resource.RLIM_INFINITY:
                yield max(0, limit - usage.get(field, 0)), f"process limit, ulimit {name}"


def _physical_memory() -> int:
    """Return the physical memory of this machine, in bytes."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return ASSUMED_MEMORY_BYTES


def _fields(path: Path) -> dict[str, int]:
    """Return the numbers of a kernel file by name, in bytes if its unit is kB; empty if the file does not exist."""
    numbers = {}
    for name, number, *unit in (words for line in _read(path).splitlines() if len(words := line.split()) > 1):
        if number.isdigit():
            numbers[name.rstrip(":")] = int(number) * (1024 if unit == ["kB"] else 1)
    return numbers


def _read(path: Path) -> str:
    """Return the content of a file of the kernel; "" if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
