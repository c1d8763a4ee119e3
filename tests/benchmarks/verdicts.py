"""False alarms and missed errors of gradient checkers, on the same correct gradients and the same injected errors.

    python tests/benchmarks/verdicts.py [--problems 300] [--part loop,scipy,...] [--save FILE.json]

The code under test is the network affine, batch norm, ReLU in NumPy with its analytic backward pass. Each problem is
drawn from a fixed seed: N 4 to 16, D and H 2 to 8, at unit scale (x_mean 0, x_std 1, eps 1e-5).
A false alarm is a correct gradient that a checker rejects. An injected error multiplies one gradient, dX, dW, dgamma or
dbeta in turn, by 1 + size: in all its entries, in the column of its largest entry, or in its largest entry alone.
The table shows the smallest of the sizes 1e-1 ... 1e-10 from which on a checker rejects the error in every problem;
a checker that rejects more than half of the correct gradients detects nothing by that.

Each checker runs with its defaults, and all in float64: the loop of cs231n (eval_numerical_gradient_array, relative
error below 1e-6 in every gradient), scipy (approx_derivative of the loss, norm of the error over all parameters below
1e-5 of the larger norm), torch's gradcheck in both modes, jax's check_grads in reverse mode (it is check_vjp with the
network as NumPy code), and bncheck's verdict FAIL without edge cases. Takes about four minutes of
one core; a checker whose package is not installed is left out.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from bncheck import Problem, Verdict, check, random_problem
from bncheck.model import network

Array = npt.NDArray[np.float64]

NAMES = ("X", "W", "b", "gamma", "beta")
# An error in db, which is exactly 0, has no relative size.
INJECTED = ("X", "W", "gamma", "beta")
PLACES = ("all entries", "one column", "one entry")
SIZES = tuple(float(f"1e-{digits}") for digits in range(1, 11))


@dataclass(frozen=True)
class Code:
    """A network whose backward pass multiplies a gradient by an array of factors."""

    problem: Problem
    factors: Mapping[str, Any]  # by name of the input; a name without factors has a correct gradient

    def forward(self, *arguments: Any) -> Any:
        return network.forward(*arguments)

    def backward(self, dout: Array, cache: Any) -> dict[str, Array]:
        gradients = network.backward(dout, cache)
        return {key: value * self.factors.get(key[1:], 1.0) for key, value in gradients.items()}


class Case:
    """A problem, its correct network, and networks with an injected error."""

    def __init__(self, number: int) -> None:
        rng = np.random.default_rng(number)
        N, D, H = int(rng.integers(4, 17)), int(rng.integers(2, 9)), int(rng.integers(2, 9))
        self.number = number
        self.problem = random_problem(N, D, H, seed=number)
        self.arrays: tuple[Array, ...] = tuple(getattr(self.problem, name) for name in NAMES)

    def outputs(self, *arrays: Array) -> Array:
        X, W, b, gamma, beta = arrays
        return np.asarray(network.forward(X, W, b, gamma, beta, self.problem.bn_eps)[0])

    def loss(self, flat: Array) -> float:
        return float((self.problem.dout * self.outputs(*self.split(flat))).sum())

    def split(self, flat: Array) -> list[Array]:
        ends = np.cumsum([0, *(array.size for array in self.arrays)])
        return [flat[i:j].reshape(array.shape) for (i, j), array in zip(pairwise(ends), self.arrays, strict=True)]

    @property
    def flat(self) -> Array:
        return np.concatenate([array.ravel() for array in self.arrays])

    def correct(self) -> Code:
        return Code(self.problem, {})

    def injected(self, place: str, size: float) -> Code:
        name = INJECTED[self.number % len(INJECTED)]
        gradient = self.gradients(self.correct())[NAMES.index(name)]
        largest = np.unravel_index(np.argmax(np.abs(gradient)), gradient.shape)
        places: dict[str, Any] = {"all entries": ..., "one column": (..., largest[-1]), "one entry": largest}
        factors = np.ones(gradient.shape)
        factors[places[place]] += size
        return Code(self.problem, {name: factors})

    def gradients(self, code: Code) -> list[Array]:
        """Return the analytic gradients of the loss, in the order of ``NAMES``."""
        _, cache = code.forward(*self.arrays, self.problem.bn_eps)
        gradients = code.backward(self.problem.dout, cache)
        return [gradients[f"d{name}"] for name in NAMES]

    @cached_property
    def loop_gradients(self) -> list[Array]:
        """Differentiate by cs231n's eval_numerical_gradient_array: one entry at a time, step 1e-5."""
        step, arrays = 1e-5, [array.copy() for array in self.arrays]
        gradients = [np.zeros_like(array) for array in arrays]
        for array, gradient in zip(arrays, gradients, strict=True):
            for index in np.ndindex(*array.shape):
                original = array[index]
                array[index] = original + step
                above = self.outputs(*arrays)
                array[index] = original - step
                below = self.outputs(*arrays)
                array[index] = original
                gradient[index] = np.sum((above - below) * self.problem.dout) / (2 * step)
        return gradients

    @cached_property
    def scipy_gradient(self) -> Array:
        from scipy.optimize._numdiff import approx_derivative  # noqa: PLC0415 - scipy is optional

        return np.asarray(approx_derivative(self.loss, self.flat))


def loop_rejects(case: Case, code: Code) -> bool:
    def relative_error(x: Array, y: Array) -> float:
        return float(np.max(np.abs(x - y) / np.maximum(1e-8, np.abs(x) + np.abs(y))))

    pairs = zip(case.gradients(code), case.loop_gradients, strict=True)
    return any(relative_error(analytic, numerical) >= 1e-6 for analytic, numerical in pairs)


def scipy_rejects(case: Case, code: Code) -> bool:
    analytic = np.concatenate([gradient.ravel() for gradient in case.gradients(code)])
    numerical = case.scipy_gradient
    larger = max(np.linalg.norm(analytic), np.linalg.norm(numerical))
    return bool(np.linalg.norm(analytic - numerical) >= 1e-5 * larger)


def torch_rejects(case: Case, code: Code, fast_mode: bool) -> bool:
    import torch  # noqa: PLC0415 - torch is optional

    class Network(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            a, ctx.cache = code.forward(*(tensor.detach().numpy() for tensor in tensors), case.problem.bn_eps)
            return torch.from_numpy(a)

        @staticmethod
        def backward(ctx: Any, dout: Any) -> Any:
            gradients = code.backward(dout.numpy(), ctx.cache)
            return tuple(torch.from_numpy(gradients[f"d{name}"]) for name in NAMES)

    tensors = [torch.tensor(array, requires_grad=True) for array in case.arrays]
    return not torch.autograd.gradcheck(Network.apply, tensors, fast_mode=fast_mode, raise_exception=False)


def jax_rejects(case: Case, code: Code) -> bool:
    jax: Any = import_module("jax")  # optional, and without complete type hints
    test_util: Any = import_module("jax.test_util")
    jax.config.update("jax_enable_x64", True)  # its products would be in float32

    def vjp(*arrays: Array) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
        a, cache = code.forward(*arrays, case.problem.bn_eps)

        def pull(dout: Array) -> tuple[Array, ...]:
            gradients = code.backward(np.asarray(dout), cache)
            return tuple(gradients[f"d{name}"] for name in NAMES)

        return a, pull

    try:
        test_util.check_vjp(case.outputs, vjp, case.arrays)
    except AssertionError:
        return True
    return False


def bncheck_rejects(case: Case, code: Code, scheme: str) -> bool:
    result = check(case.problem, code, scheme=scheme, explain=False, edge_cases=False)
    return result.verdict is Verdict.FAIL


@dataclass(frozen=True)
class Checker:
    """A gradient checker: whether it rejects the gradients of a network."""

    name: str
    rejects: Callable[[Case, Code], bool]
    package: str = "numpy"


CHECKERS: dict[str, Checker] = {
    "loop": Checker("the loop of cs231n, relative error < 1e-6", loop_rejects),
    "scipy": Checker("scipy, norm relative < 1e-5", scipy_rejects, "scipy"),
    "torch-slow": Checker("torch gradcheck slow, defaults", partial(torch_rejects, fast_mode=False), "torch"),
    "torch-fast": Checker("torch gradcheck fast, defaults", partial(torch_rejects, fast_mode=True), "torch"),
    "jax": Checker("jax check_grads, defaults", jax_rejects, "jax"),
    "central": Checker("bncheck central", partial(bncheck_rejects, scheme="central")),
    "complex": Checker("bncheck complex", partial(bncheck_rejects, scheme="complex")),
}


def detected_size(checker: Checker, cases: list[Case], place: str) -> float | None:
    """Return the smallest size from which on every error is rejected; None if the largest size is not."""
    smallest = None
    for size in SIZES:
        if not all(checker.rejects(case, case.injected(place, size)) for case in cases):
            break
        smallest = size
    return smallest


def row(checker: Checker, cases: list[Case]) -> dict[str, Any]:
    """Return the false alarms of a checker, and the size that it always detects in each place."""
    false_alarms = sum(checker.rejects(case, case.correct()) for case in cases)
    is_useful = 2 * false_alarms <= len(cases)
    sizes = {place: detected_size(checker, cases, place) if is_useful else None for place in PLACES}
    return {
        "checker": checker.name,
        "problems": len(cases),
        "false_alarms": false_alarms,
        "detects_errors": is_useful,
        "sizes": sizes,
    }


def rows(parts: list[str], problems: int) -> Iterator[dict[str, Any]]:
    """Yield the row of each checker whose package is installed."""
    cases = [Case(number) for number in range(problems)]
    for part in parts:
        try:
            import_module(CHECKERS[part].package)
        except ImportError:
            continue
        yield row(CHECKERS[part], cases)


def _size_text(row: Mapping[str, Any], place: str) -> str:
    if not row["detects_errors"]:
        return "-"
    size = row["sizes"][place]
    return f"not even {SIZES[0]:.0e}" if size is None else f"{size:.0e}"


@click.command()
@click.option("--part", default=",".join(CHECKERS), help="Checkers to run, separated by commas.")
@click.option("--problems", default=300, show_default=True, help="Number of problems.")
@click.option("--save", type=click.Path(path_type=Path), help="JSON file to write the rows to.")
def main(part: str, problems: int, save: Path | None) -> None:
    """Measure and print the table."""
    table = Table()
    table.add_column("checker")
    for heading in ("false alarms", *PLACES):
        table.add_column(heading, justify="right")
    measured = list(rows(part.split(","), problems))
    for result in measured:
        false_alarms = f"{result['false_alarms']} of {result['problems']}"
        table.add_row(result["checker"], false_alarms, *(_size_text(result, place) for place in PLACES))
    Console(width=120).print(table)
    if save is not None:
        save.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
