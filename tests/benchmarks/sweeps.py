"""Sweeps: their rate, what more processes or workers bring, and what 100,000 checks come to.

    python tests/benchmarks/sweeps.py [--part rates,cluster,scale] [--repeat 3] [--checks 100000] [--save FILE.json]

Rates are of checks of three sizes: by one process and by two, and by a Dask cluster of one worker and
of two on this machine; they are taken in turn, and a ratio is the median of the ratios of
neighbours. Everything has one BLAS thread a process. "cluster" needs the extra dask. "scale" is one
sweep as a command of its own with --out, and then report over its file: rate, bytes a row, peak
memory of both, the time of report. Minutes.
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

BLAS_THREAD_VARIABLES = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
os.environ.update(BLAS_THREAD_VARIABLES)
import bncheck  # noqa: E402 - NumPy reads these once
from bncheck.execution.dask_pool import DaskPool  # noqa: E402 - likewise
from bncheck.execution.pool import run_unordered  # noqa: E402 - likewise
from bncheck.sweeps.sweep import SweepPoint  # noqa: E402 - likewise

SIZES = {"small": (8, 5, 4), "card": (64, 100, 50), "large": (192, 192, 128)}
CHECKS = {"small": 600, "card": 300, "large": 120}


def rate(size: str, **how: Any) -> float:
    N, D, H = SIZES[size]
    checks, started = CHECKS[size], time.perf_counter()
    rows = list(bncheck.sweep(N=N, D=D, H=H, seed=range(checks), **how))
    assert len(rows) == checks
    return checks / (time.perf_counter() - started)


def compared(size: str, one: dict[str, Any], two: dict[str, Any], repeat: int) -> dict[str, Any]:
    pairs = [(rate(size, **one), rate(size, **two)) for _ in range(repeat)]
    return {
        "one": statistics.median(first for first, _ in pairs),
        "two": statistics.median(second for _, second in pairs),
        "ratio": statistics.median(second / first for first, second in pairs),
    }


def rates(repeat: int, _: int) -> Iterator[dict[str, Any]]:
    for size, shape in SIZES.items():
        yield {"what": f"{size} {shape}: a second by one process, two", **compared(size, {}, {"jobs": 2}, repeat)}


class ProcessPool:
    """A scheduler and so many workers of one thread."""

    def __init__(self, folder: Path, workers: int, started: Callable[[Any], Any]) -> None:
        file = folder / f"{workers}.json"
        where = ("--scheduler-file", str(file), "--no-dashboard")
        options = ("--nthreads", "1", "--local-directory", str(folder))
        scheduler = ("scheduler", "--host", "127.0.0.1", "--port", "0", *where)
        for what in (scheduler, *[("worker", *where, *options)] * workers):
            command = [str(Path(sys.executable).with_name("dask")), *what]
            started(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            while not file.exists():
                time.sleep(0.05)
        self.address = json.loads(file.read_text())["address"]
        from distributed import Client  # noqa: PLC0415 - optional

        with Client(self.address) as client:
            client.wait_for_workers(workers)


def cluster(repeat: int, _: int) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ended:
        one, two = (
            {"dask": ProcessPool(Path(folder), count, lambda p: ended.callback(p.terminate)).address}
            for count in (1, 2)
        )
        for size, shape in SIZES.items():
            what = f"{size} {shape}: a second by one Dask worker, two"
            yield {"what": what, **compared(size, one, two, repeat)}
        yield {"what": "checks that take no time: a second by one Dask worker", "one": nothing(one["dask"])}
        yield {"what": "checks that take no time: a second by two", "one": nothing(two["dask"])}


def nothing(address: str) -> float:
    """Return how many checks a second could be handed out: what is done is next to nothing."""
    workers = DaskPool(address, [SweepPoint().target], print)
    started, points = time.perf_counter(), (SweepPoint(seed=seed) for seed in range(2000))
    return len(list(run_unordered(repr, points, workers, lambda _, said: said))) / (time.perf_counter() - started)


def scale(_: int, checks: int) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        sizes = [word for name, n in zip("NDH", SIZES["small"], strict=True) for word in (f"--{name}", str(n))]
        axes = ("--seed", f"0..{checks // 100 - 1}", "--bn-eps", "1e-9..1", "--x-std", "1e-3..1e6")
        seconds, peak = measured("sweep", *sizes, *axes, "--jobs", "2", "--out", str(file))
        rows = file.read_bytes().count(b"\n")
        yield {"what": f"{rows:,} checks by two processes: a second", "one": rows / seconds}
        yield {"what": "bytes a row", "one": file.stat().st_size / rows}
        yield {"what": "MB of memory, at the peak of the sweep", "one": peak / 1e6}
        seconds, peak = measured("report", str(file))
        yield {"what": "seconds of report over the file", "one": seconds}
        yield {"what": "MB of memory, at its peak", "one": peak / 1e6}


def measured(*words: str) -> tuple[float, int]:
    """Return the seconds and the peak memory, in bytes, of a command."""
    script = "import resource, sys; from bncheck.cli import main; main.main(standalone_mode=False)"
    told = "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    started = time.perf_counter()
    command = [sys.executable, "-c", f"{script}; {told}", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - started, 1024 * int(done.stderr.split()[-1])


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
    rate("small")  # warm
    rows = [row for name in part.split(",") for row in partial(PARTS[name], repeat, checks)()]
    table = Table()
    for heading in ("what", "one", "two", "ratio"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for row in rows:
        table.add_row(row["what"], *(f"{row[name]:,.4g}" if name in row else "" for name in ("one", "two", "ratio")))
    Console(width=120).print(table)
    if save is not None:
        save.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
