"""Compare bncheck with other gradient checkers and with one pass of the network, and measure how it scales.

    python tests/benchmarks/peers.py [--part peers,passes,growth,memory,start] [--repeat 5] [--save FILE.json]

All measurements are made in the same run; the runs alternate, and a ratio is the median of the ratios of neighboring
runs. The other checkers check every entry of X, W, b, gamma and beta with a scalar loss: the loop of cs231n (two
forward passes for each entry), torch's gradcheck in its slow mode, and scipy's approx_derivative with two methods.
bncheck is measured as its numerical part (steps, kink guard, every entry, error bounds) and as a complete
``bncheck.check``, which adds the cross-check and the gradient dh. The benchmark takes about three minutes; rows that
need scipy or torch are omitted if the package is not installed.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from bncheck import Problem, check, random_problem
from bncheck.model import network
from bncheck.model.components import NETWORK
from bncheck.model.options import CheckOptions
from bncheck.numerical.measure import measure

SHAPE = (64, 100, 50)
NAMES = ("X", "W", "b", "gamma", "beta")
NO_CROSS_CHECK = CheckOptions(cross_check_entries=0)
IMPORTS = "import numpy, click, rich.console, rich.table"


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(work: Callable[[], object], other: Callable[[], object], repeat: int) -> tuple[float, float, float]:
    """Return the median times of both, and the median of the ratios other / work of neighboring runs."""
    work()
    pairs = [(statistics.median(seconds(work) for _ in range(5)), seconds(other)) for _ in range(repeat)]
    return (
        statistics.median(p[0] for p in pairs),
        statistics.median(p[1] for p in pairs),
        statistics.median(p[1] / p[0] for p in pairs),
    )


def loss(arrays: dict[str, Any], p: Problem) -> Any:
    h = arrays["X"] @ arrays["W"] + arrays["b"]
    mu = h.mean(axis=0)
    var = ((h - mu) * (h - mu)).mean(axis=0)
    y = arrays["gamma"] * (h - mu) / np.sqrt(var + p.bn_eps) + arrays["beta"]
    return (p.dout * np.where(y.real > 0, y, 0)).sum()


def cs231n_layers(arrays: dict[str, Any], bn_param: dict[str, Any]) -> Any:
    """Run the three layers as cs231n writes them, with caches and running statistics."""
    x, w = arrays["X"], arrays["W"]
    h = x.reshape(x.shape[0], -1).dot(w) + arrays["b"]
    fc_cache = (x, w, arrays["b"])
    momentum = bn_param.get("momentum", 0.9)
    mean, var = np.mean(h, axis=0), np.var(h, axis=0)
    bn_param["running_mean"] = momentum * bn_param.get("running_mean", np.zeros(h.shape[1])) + (1 - momentum) * mean
    bn_param["running_var"] = momentum * bn_param.get("running_var", np.zeros(h.shape[1])) + (1 - momentum) * var
    x_hat = (h - mean) / np.sqrt(var + bn_param["eps"])
    y = arrays["gamma"] * x_hat + arrays["beta"]
    bn_cache = (h, mean, var, x_hat, arrays["gamma"], bn_param)
    out = np.maximum(0, y)
    return out, (fc_cache, bn_cache, y)


def cs231n_loop(p: Problem) -> None:
    """Compute the numerical gradients as cs231n does: one entry at a time, with full forward passes."""
    arrays = {name: getattr(p, name).copy() for name in NAMES}
    bn_param = {"mode": "train", "eps": p.bn_eps}
    for x in arrays.values():
        gradient = np.zeros_like(x)
        it = np.nditer(x, flags=["multi_index"], op_flags=[["readwrite"]])
        while not it.finished:
            index = it.multi_index
            original = x[index]
            x[index] = original + 1e-5
            above = cs231n_layers(arrays, bn_param)[0].copy()
            x[index] = original - 1e-5
            below = cs231n_layers(arrays, bn_param)[0].copy()
            x[index] = original
            gradient[index] = np.sum((above - below) * p.dout) / (2 * 1e-5)
            it.iternext()


def scipy_checker(p: Problem, method: str) -> Callable[[], object]:
    from scipy.optimize._numdiff import approx_derivative  # noqa: PLC0415 - scipy is an optional dependency

    arrays = [getattr(p, name) for name in NAMES]
    ends = np.cumsum([0, *(array.size for array in arrays)])

    def flat(x: Any) -> Any:
        parts = (x[a:b].reshape(array.shape) for (a, b), array in zip(pairwise(ends), arrays, strict=True))
        return loss(dict(zip(NAMES, parts, strict=True)), p)

    start = np.concatenate([array.ravel() for array in arrays])
    return lambda: approx_derivative(flat, start, method=method)


def torch_checker(p: Problem) -> Callable[[], object]:
    import torch  # noqa: PLC0415 - torch is an optional dependency

    arrays = [torch.tensor(getattr(p, name), requires_grad=True) for name in NAMES]
    dout = torch.tensor(p.dout)

    def scalar(X: Any, W: Any, b: Any, gamma: Any, beta: Any) -> Any:
        y = torch.nn.functional.batch_norm(X @ W + b, None, None, gamma, beta, training=True, eps=p.bn_eps)
        return (dout * torch.relu(y)).sum()

    return lambda: torch.autograd.gradcheck(scalar, arrays, fast_mode=False, raise_exception=False)


def peers(repeat: int) -> Iterator[dict[str, Any]]:
    p = random_problem(*SHAPE)
    others: dict[str, Callable[[], Callable[[], object]]] = {
        "cs231n loop": lambda: lambda: cs231n_loop(p),
        "torch gradcheck, slow mode": lambda: torch_checker(p),
        "scipy 3-point": lambda: scipy_checker(p, "3-point"),
        "scipy complex": lambda: scipy_checker(p, "cs"),
    }
    parts: dict[str, Callable[[], object]] = {
        "numerical part": lambda: measure(p, NETWORK, NO_CROSS_CHECK, NAMES),
        "complete check": lambda: check(p),
    }
    for name, create in others.items():
        try:
            other = create()
        except ImportError:
            continue
        for part, work in parts.items():
            work_seconds, other_seconds, ratio = compare(work, other, repeat)
            row = {"part": "peers", "size": SHAPE, "what": f"{name} / {part}"}
            yield {**row, "bncheck": work_seconds, "other": other_seconds, "ratio": ratio}


def one_pass(p: Problem) -> None:
    _, cache = network.forward(p.X, p.W, p.b, p.gamma, p.beta, p.bn_eps)
    network.backward(p.dout, cache)


def passes(repeat: int) -> Iterator[dict[str, Any]]:
    for n in (512, 1024):
        p = random_problem(n, n, n)
        variants = {"without cross-check": NO_CROSS_CHECK, "with cross-check": CheckOptions()}
        for variant, options in variants.items():
            work = partial(measure, p, NETWORK, options, NAMES)
            pass_seconds, work_seconds, ratio = compare(partial(one_pass, p), work, repeat)
            yield {"part": "passes", "size": (n, n, n), "what": f"numerical part, {variant} / pass",
                   "bncheck": work_seconds, "other": pass_seconds, "ratio": ratio}  # fmt: skip


def growth(repeat: int) -> Iterator[dict[str, Any]]:
    for n in (32, 64, 128, 256, 512, 1024):
        p = random_problem(n, n, n)
        work = partial(measure, p, NETWORK, NO_CROSS_CHECK, NAMES)
        work()
        median = statistics.median(seconds(work) for _ in range(repeat))
        yield {"part": "growth", "size": (n, n, n), "what": "ns per N D H", "bncheck": median, "other": None,
               "ratio": 1e9 * median / n**3}  # fmt: skip


def memory(_: int) -> Iterator[dict[str, Any]]:
    N, D, H = 4096, 1024, 1024
    script = (
        f"import resource; from bncheck import check, random_problem; p = random_problem({N}, {D}, {H}); check(p); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peak = 1024 * int(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    arrays = 8 * (N * D + D * H + 2 * N * H)
    yield {"part": "memory", "size": (N, D, H), "what": "peak of the process / X, W, h and dout", "bncheck": None,
           "other": None, "ratio": peak / arrays}  # fmt: skip


def start(repeat: int) -> Iterator[dict[str, Any]]:
    command = [str(Path(sys.executable).with_name("bncheck")), "run", "--N", "64", "--D", "100", "--H", "50"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def process(words: list[str]) -> Callable[[], object]:
        return lambda: subprocess.run(words, capture_output=True, check=True, env=environment)

    import_seconds, run_seconds, ratio = compare(process([sys.executable, "-c", IMPORTS]), process(command), 3 * repeat)
    yield {"part": "start", "size": SHAPE, "what": "bncheck run / its imports alone", "bncheck": run_seconds,
           "other": import_seconds, "ratio": ratio}  # fmt: skip


PARTS = {"peers": peers, "passes": passes, "growth": growth, "memory": memory, "start": start}


@click.command()
@click.option("--part", default=",".join(PARTS))
@click.option("--repeat", default=5)
@click.option("--save", type=click.Path(path_type=Path))
def main(part: str, repeat: int, save: Path | None) -> None:
    """Measure and print the table."""
    rows = [row for name in part.split(",") for row in PARTS[name](repeat)]
    table = Table()
    for heading in ("(N, D, H)", "what", "bncheck", "other", "ratio"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for row in rows:
        times = ["" if row[column] is None else f"{1e3 * row[column]:,.1f} ms" for column in ("bncheck", "other")]
        table.add_row(str(row["size"]), row["what"], *times, f"{row['ratio']:,.{1 if row['ratio'] < 100 else 0}f}")
    Console(width=120).print(table)
    if save is not None:
        save.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
