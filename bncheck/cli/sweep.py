"""``bncheck sweep``: a check for every combination of settings."""

from typing import Any

from bncheck.cli.command import ExitCode, axis_options, command, options, targets_argument
from bncheck.cli.output import CHECK_FORMATS, output_options, plot_option
from bncheck.model.options import LIMITS


@command(
    "bncheck sweep --step 1e-1..1e-12 --scheme central,five-point",
    "bncheck sweep --N 8,64 --D 20 --H 10 --bn-eps 1e-5,1 --seed 0..9 --jobs 2",
    "bncheck sweep layers.py --x-mean 0,100 --x-std 1,10 --only dX,dh",
    "bncheck sweep layers.py --N 8,64 --call-timeout 10 --timeout 60 --memory 1GB",
    "bncheck sweep --N 8 --D 5 --H 4 --engine full --rtol 1e-5 --atol 1e-8",
    "bncheck sweep --N 8 --seed 0..99 --out more.jsonl --resume --format jsonl",
    "bncheck sweep --N 8,64 --format markdown --save table.svg --plot v.png",
)
@targets_argument
@axis_options
@options("engine", "only", "rtol", "atol", heading="Shared settings")
@options("jobs", "dask", "out", "resume")
@options(*LIMITS)
@output_options(*CHECK_FORMATS, streamed=("jsonl",))
@plot_option
def sweep(**arguments: Any) -> ExitCode:
    """Run a check for every combination of settings.

    Each combination is a separate check, as in bncheck run. The tables show correct digits,
    -log10(||a - n|| / max(||a||, ||n||)), of an analytic gradient a and its numerical gradient n.

    TARGET is the code to check: a file (layers.py), a module (mypkg.layers), an object in either
    (layers.py:solution_b), or a built-in implementation: reference (default) or staged. Several targets are an
    axis: every target is checked with every combination of the other axes.
    """
    from bncheck.cli.sweep_run import run_sweep  # noqa: PLC0415 - imports numpy

    return run_sweep(**arguments)
