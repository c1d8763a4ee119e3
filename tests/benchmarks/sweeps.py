"""Sweeps: checks per second, the gain from more processes or workers, and the cost of 100,000 checks.

    python tests/benchmarks/sweeps.py [--part rates,cluster,scale] [--repeat 3] [--checks 100000] [--save FILE.json]

"rates" measures checks of three sizes in one process and in two, and "cluster" on one Dask worker and on two, which run
on this machine; "cluster" requires the extra dask. The two measurements alternate, and a ratio is the median of the
ratios of neighboring measurements. Each process has one BLAS thread. "scale" runs one sweep command with --out and
then report on its file, and measures the rate, the bytes per row, the peak memory of both, and the time of report.
All parts together take some minutes.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

# NumPy reads these variables when it is imported.
os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1"))
import bncheck
from bncheck.execution.dask_pool import DaskPool
from bncheck.execution.pool import run_unordered
from bncheck.sweeps.grid import SweepPoint

SIZES = {"small": (8, 5, 4), "card": (64, 100, 50), "large": (192, 192, 128)}
CHECKS = {"small": 600, "card": 300, "large": 120}


def rate(size: str, **options: Any) -> float:
    N, D, H = SIZES[size]
    checks, started = CHECKS[size], time.perf_counter()
    rows = list(bncheck.sweep(N=N, D=D, H=H, seed=range(checks), **options))
    assert len(rows) == checks
    return checks / (time.perf_counter() - started)


def compare_rates(size: str, one: dict[str, Any], two: dict[str, Any], repeat: int) -> dict[str, Any]:
    pairs = [(rate(size, **one), rate(size, **two)) for _ in range(repeat)]
    return {
        "one": statistics.median(first for first, _ in pairs),
        "two": statistics.median(second for _, second in pairs),
        "ratio": statistics.median(second / first for first, second in pairs),
    }


def rates(repeat: int, _: int) -> Iterator[dict[str, Any]]:
    for size, shape in SIZES.items():
        yield {
            "quantity": f"{size} {shape}: per second in one process, two",
            **compare_rates(size, {}, {"jobs": 2}, repeat),
        }


class Cluster:
    """A scheduler and a number of workers with one thread each."""

    def __init__(self, folder: Path, workers: int, on_start: Callable[[Any], Any]) -> None:
        file = folder / f"{workers}.json"
        shared = ("--scheduler-file", str(file), "--no-dashboard")
        options = ("--nthreads", "1", "--local-directory", str(folder))
        scheduler = ("scheduler", "--host", "127.0.0.1", "--port", "0", *shared)
        for arguments in (scheduler, *[("worker", *shared, *options)] * workers):
            command = [str(Path(sys.executable).with_name("dask")), *arguments]
            on_start(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            while not (file.exists() and file.stat().st_size):
                time.sleep(0.05)
        self.address = json.loads(file.read_text())["address"]
        from distributed import Client  # noqa: PLC0415 - an optional dependency

        with Client(self.address) as client:
            client.wait_for_workers(workers)


def cluster(repeat: int, _: int) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        one, two = (
            {"dask": Cluster(Path(folder), count, lambda p: stack.callback(p.terminate)).address} for count in (1, 2)
        )
        for size, shape in SIZES.items():
            quantity = f"{size} {shape}: per second on one Dask worker, two"
            yield {"quantity": quantity, **compare_rates(size, one, two, repeat)}
        yield {
            "quantity": "checks that take no time, per second on one Dask worker",
            "one": scheduling_rate(one["dask"]),
        }
        yield {"quantity": "checks that take no time, per second on two", "one": scheduling_rate(two["dask"])}


def scheduling_rate(address: str) -> float:
    """Return the number of items per second that can be scheduled, with work that takes almost no time."""
    pool = DaskPool(address, [SweepPoint().target], print, encode=str, decode=lambda _, text: text)
    started, points = time.perf_counter(), (SweepPoint(seed=seed) for seed in range(2000))
    return len(list(run_unordered(repr, points, pool, repr))) / (time.perf_counter() - started)


def scale(_: int, checks: int) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        sizes = [f"--{name}={n}" for name, n in zip("NDH", SIZES["small"], strict=True)]
        axes = ("--seed", f"0..{checks // 100 - 1}", "--bn-eps", "1e-9..1", "--x-std", "1e-3..1e6")
        seconds, peak = run_command("sweep", *sizes, *axes, "--jobs", "2", "--out", str(file))
        rows = file.read_bytes().count(b"\n")
        yield {"quantity": f"{rows:,} checks in two processes: per second", "one": rows / seconds}
        yield {"quantity": "bytes per row", "one": file.stat().st_size / rows}
        yield {"quantity": "peak memory of the sweep, MB", "one": peak / 1e6}
        seconds, peak = run_command("report", str(file))
        yield {"quantity": "time of report on the file, s", "one": seconds}
        yield {"quantity": "peak memory of report, MB", "one": peak / 1e6}


def run_command(*arguments: str) -> tuple[float, int]:
    """Return the time of a command in seconds and its peak memory in bytes."""
    script = "import resource, sys; from bncheck.cli.main import main; main(standalone_mode=False)"
    report = "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    started = time.perf_counter()
    command = [sys.executable, "-c", f"{script}; {report}", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - started, 1024 * int(result.stderr.split()[-1])


PARTS: Mapping[str, Callable[[int, int], Iterator[dict[str, Any]]]] = {
    "rates": rates, "cluster": cluster, "scale": scale,
}  # fmt: skip


@click.command()
@click.option("--part", default=",".join(PARTS))
@click.option("--repeat", default=3)
@click.option("--checks", default=100_000)
@click.option("--save", type=click.Path(path_type=Path))
def main(part: str, repeat: int, checks: int, save: Path | None) -> None:
    """Measure and print the table."""
    rate("small")  # warm up
    rows = [row for name in part.split(",") for row in partial(PARTS[name], repeat, checks)()]
    table = Table()
    for heading in ("quantity", "one", "two", "ratio"):
        table.add_column(heading, justify="left" if heading == "quantity" else "right")
    for row in rows:
        table.add_row(
            row["quantity"], *(f"{row[name]:,.4g}" if name in row else "" for name in ("one", "two", "ratio"))
        )
    Console(width=120).print(table)
    if save is not None:
        save.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
