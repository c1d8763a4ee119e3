"""The memory that a check needs and the memory that is available."""

import tracemalloc
from pathlib import Path

import pytest

from bncheck import InvalidInput, check, random_problem
from bncheck.model import memory

GB = 10**9
UNLIMITED_V1 = "9223372036854771712"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Kernel":
    """Return the files of a kernel with 64 GB of free memory and no other limit."""
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr("resource.getrlimit", lambda _: (-1, -1))
    kernel = Kernel(tmp_path)
    kernel.write("proc/meminfo", f"MemTotal: {10**8} kB\nMemFree: 1 kB\nMemAvailable:   {64 * GB // 1024} kB\n")
    kernel.write("proc/self/status", f"Name:\tpython\nVmSize:\t{GB // 1024} kB\nVmData:\t{GB // 2048} kB\n")
    return kernel


class Kernel:
    """The files in which Linux reports memory, below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, content: object) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n", encoding="utf-8")

    def write_group(self, folder: str, limit: object, usage: int, cache: int = 0) -> None:
        version_2 = not folder.startswith("cgroup/memory")
        names = ("memory.max", "memory.current") if version_2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        for name, number in zip(names, (limit, usage), strict=True):
            self.write(f"{folder}/{name}", number)
        prefix = "" if version_2 else "total_"
        self.write(
            f"{folder}/memory.stat", f"anon 1\n{prefix}inactive_file {cache // 2}\n{prefix}active_file {cache // 2}"
        )


def message_for(*shape: int) -> str:
    with pytest.raises(InvalidInput) as error:
        memory.require_memory(*shape)
    return str(error.value)


@pytest.mark.usefixtures("kernel")
def test_free_memory_and_not_the_total_is_available() -> None:
    assert memory.available_bytes() == pytest.approx(64 * GB, abs=1024)
    assert message_for(10**5, 10**5, 50) == (
        "N = 100,000, D = 100,000, H = 50 needs about 1,201.5 GB of memory; 64.0 GB are available (free memory); "
        "use smaller sizes"
    )
    memory.require_memory(10**4, 10**4, 50)


def test_the_least_limit_of_the_cgroup_and_its_parents_is_available(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "0::/user/job")
    kernel.write_group("cgroup/user/job", "max", 1 * GB)
    kernel.write_group("cgroup/user", 8 * GB, 5 * GB, cache=2 * GB)
    assert memory.available_bytes() == 5 * GB
    assert "5.0 GB are available (cgroup limit)" in message_for(10**4, 10**4, 50)
    kernel.write_group("cgroup/user/job", 3 * GB, 4 * GB)
    assert memory.available_bytes() == 0


def test_the_limit_of_a_cgroup_of_version_1_is_available(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "8:pids:/\n4:cpu,memory:/docker/abc\n0::/")
    kernel.write_group("cgroup/memory/docker/abc", UNLIMITED_V1, 1 * GB)
    kernel.write_group("cgroup/memory/docker", 4 * GB, 3 * GB, cache=1 * GB)
    assert memory.available_bytes() == 2 * GB


def test_a_container_that_does_not_contain_the_path_of_its_cgroup_is_limited_by_the_root(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "4:memory:/docker/abc\n0::/docker/abc")
    kernel.write_group("cgroup/memory", 4 * GB, 1 * GB)
    assert memory.available_bytes() == 3 * GB


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(("name", "used", "option"), [("RLIMIT_AS", GB, "-v"), ("RLIMIT_DATA", GB // 2, "-d")])
def test_a_limit_of_the_process_leaves_what_is_not_in_use(
    name: str, used: int, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource  # noqa: PLC0415 - not on Windows

    limits = {getattr(resource, name): (3 * GB, -1)}
    monkeypatch.setattr(resource, "getrlimit", lambda number: limits.get(number, (-1, -1)))
    assert memory.available_bytes() == pytest.approx(3 * GB - used, abs=1024)
    assert f"GB are available (process limit, ulimit {option})" in message_for(10**4, 10**4, 50)


def test_without_the_files_of_linux_the_memory_of_the_machine_is_available(kernel: Kernel) -> None:
    (kernel.folder / "proc/meminfo").unlink()
    assert memory.available_bytes() > 10**8
    assert "GB are available (memory of this machine)" in message_for(10**6, 10**6, 50)


def test_a_problem_that_exceeds_the_memory_is_rejected_before_any_allocation() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match=r"needs about 1\d\d,\d{3}\.\d GB of memory; "):
            random_problem(10**6, 10**6, 50)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10**6


@pytest.mark.parametrize("shape", [(300, 300, 300), (600, 600, 8), (600, 8, 600), (8, 600, 600)])
def test_a_check_needs_at_least_half_of_the_estimated_memory_and_at_most_all_of_it(shape: tuple[int, int, int]) -> None:
    tracemalloc.start()
    try:
        check(random_problem(*shape))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.5 < peak / memory.needed_bytes(*shape) < 1
