"""Compare the speed of the local engine with that of full forward passes.

    python tests/benchmarks/engines.py [--N 64 --D 100 --H 50] [--repeat 5] [--save FILE.json]

Both engines evaluate every entry of X, W, b, gamma, beta and h at the same steps; "numerical" is the engine alone,
"check" a complete ``bncheck.check``, with the cross-check of the local engine. The runs alternate, and the ratio is the
median of the ratios of neighboring runs.
"""

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from bncheck import check, random_problem
from bncheck.model.components import NETWORK
from bncheck.model.options import CheckOptions
from bncheck.numerical.full import full_gradients
from bncheck.numerical.measure import evaluate_locally
from bncheck.numerical.plan import plan_measurement
from bncheck.numerical.schemes import SCHEMES


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@click.command()
@click.option("--N", "N", default=64)
@click.option("--D", "D", default=100)
@click.option("--H", "H", default=50)
@click.option("--repeat", default=5)
@click.option("--save", type=click.Path(path_type=Path))
def main(N: int, D: int, H: int, repeat: int, save: Path | None) -> None:
    """Time both engines on one problem and print the ratios."""
    problem = random_problem(N, D, H)
    rows: list[dict[str, Any]] = []
    for name in SCHEMES:
        plan = plan_measurement(problem, NETWORK, CheckOptions(scheme=name), NETWORK.inputs)
        sizes = {p: array.size for p, array in NETWORK.arrays(problem).items()}
        entries = {p: np.arange(size) for p, size in sizes.items()}
        engines: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "numerical": (partial(evaluate_locally, plan), partial(full_gradients, plan, entries)),
            "check": (partial(check, problem, scheme=name), partial(check, problem, scheme=name, engine="full")),
        }
        for part, (local, full) in engines.items():
            local()  # the first run is slower
            times = [(seconds(local), seconds(full)) for _ in range(repeat)]
            rows.append(
                {
                    "scheme": name,
                    "part": part,
                    "entries": sum(sizes.values()),
                    "local_seconds": statistics.median(t[0] for t in times),
                    "full_seconds": statistics.median(t[1] for t in times),
                    "ratio": statistics.median(t[1] / t[0] for t in times),
                }
            )
    table = Table(title=f"local and full engine, N {N}, D {D}, H {H}, medians of {repeat}")
    for heading in ("scheme", "part", "entries", "local", "full", "full / local"):
        table.add_column(heading, justify="left" if heading in ("scheme", "part") else "right")
    for row in rows:
        table.add_row(
            row["scheme"],
            row["part"],
            f"{row['entries']:,}",
            f"{1e3 * row['local_seconds']:.1f} ms",
            f"{1e3 * row['full_seconds']:.0f} ms",
            f"{row['ratio']:.0f}",
        )
    Console().print(table)
    if save is not None:
        save.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
