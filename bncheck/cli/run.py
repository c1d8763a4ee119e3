"""``bncheck run``: check targets on a random problem."""

from typing import Any

from bncheck.cli.command import ExitCode, command, options, targets_argument
from bncheck.cli.output import CHECK_FORMATS, output_options
from bncheck.cli.targets import load_targets
from bncheck.model.options import LIMITS, PROBLEM_SETTINGS


@command(
    "bncheck run --N 64 --D 100 --H 50",
    "bncheck run layers.py --seed 7 --bn-eps 1e-3 --x-mean 2 --x-std 0.5",
    "bncheck run --scheme five-point --step 1e-3 --only dW,dgamma",
    "bncheck run --engine full --sample 20 --rtol 1e-5 --atol 1e-8",
    "bncheck run layers.py wrong.py --no-edge-cases --call-timeout 10",
    "bncheck run layers.py --strict --timeout 120 --memory 1.5GB --show-output",
    "bncheck run layers.py --only batchnorm_backward.dx",
    "bncheck run layers.py --format junit --save report.html",
)
@targets_argument
@options(*PROBLEM_SETTINGS, "scheme", "step", "engine", "sample", "only", "edge_cases", *LIMITS, "show_output")
@options("rtol", "atol", "strict")
@output_options(*CHECK_FORMATS)
def run(
    targets: tuple[str, ...], no_edge_cases: bool, format_: str, save: tuple[str, ...], **settings: Any
) -> ExitCode:
    """Check a backward pass on a random problem.

    TARGET is the code to check: a file (layers.py), a module (mypkg.layers), an object in either
    (layers.py:solution_b), or a built-in implementation: reference (default) or staged, which computes the same
    gradients step by step. With several targets, a summary table follows the reports.

    Every entry of every gradient is compared with a finite difference of the forward pass, within an error bound.
    """
    names = load_targets(targets)
    from bncheck.cli.checks import check_targets  # noqa: PLC0415 - imports numpy
    from bncheck.model.problem import random_problem  # noqa: PLC0415 - imports numpy

    problem = random_problem(**{name: settings.pop(name) for name in PROBLEM_SETTINGS})
    return check_targets(names, problem, format_, save, edge_cases=not no_edge_cases, **settings)
