"""How many checks a second a sweep does, and what a second process brings, side by side in one run.

    python tests/benchmarks/sweeps.py [--repeat 3] [--save FILE.json]

"small" is (8,5,4) in one process; "large" are checks of 50 ms or more, in one process and in two,
in turn; the ratio is the median of the ratios of neighbours. Both have one BLAS thread a process.
"""

import json
import os
import statistics
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1"))
import bncheck

SMALL, LARGE = {"N": 8, "D": 5, "H": 4}, {"N": 192, "D": 192, "H": 128}


def rate(checks: int, jobs: int, sizes: dict[str, int]) -> float:
    started = time.perf_counter()
    rows = list(bncheck.sweep(N=sizes["N"], D=sizes["D"], H=sizes["H"], seed=range(checks), jobs=jobs))
    assert len(rows) == checks
    return checks / (time.perf_counter() - started)


@click.command()
@click.option("--repeat", default=3)
@click.option("--save", type=click.Path(path_type=Path))
def main(repeat: int, save: Path | None) -> None:
    """Time sweeps and print the rates."""
    rate(50, 1, SMALL)  # warm
    small = statistics.median(rate(1000, 1, SMALL) for _ in range(repeat))
    pairs = [(rate(120, 1, LARGE), rate(120, 2, LARGE)) for _ in range(repeat)]
    result = {
        "small_per_second": small,
        "large_seconds": 1 / statistics.median(one for one, _ in pairs),
        "two_over_one": statistics.median(two / one for one, two in pairs),
    }
    table = Table(title=f"sweeps, medians of {repeat}")
    table.add_column("what")
    table.add_column("", justify="right")
    table.add_row("checks a second at (8,5,4), one process", f"{small:.0f}")
    table.add_row("seconds a check at (192,192,128), one process", f"{result['large_seconds']:.3f}")
    table.add_row("rate of two processes over one, starting them included", f"{result['two_over_one']:.2f}")
    Console().print(table)
    if save is not None:
        save.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
