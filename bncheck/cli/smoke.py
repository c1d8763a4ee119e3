"""``bncheck smoke``: a short check for continuous integration."""

from typing import Any

from bncheck.cli.command import ExitCode, command, options, targets_argument
from bncheck.cli.output import CHECK_FORMATS, Output, output_options
from bncheck.cli.targets import load_targets
from bncheck.model.options import LIMITS

# The problem of a target: small, with more units than features. The edge cases are smaller still.
SMOKE_SHAPE = {"N": 16, "D": 6, "H": 8, "seed": 0}


@command(
    "bncheck smoke",
    "bncheck smoke layers.py",
    "bncheck smoke layers.py --strict --format github --save smoke.xml",
    "bncheck smoke layers.py --call-timeout 10 --timeout 60 --memory 1GB",
    "bncheck smoke layers.py --show-output",
)
@targets_argument
@options("strict", *LIMITS, "show_output")
@output_options(*CHECK_FORMATS)
def smoke(targets: tuple[str, ...], strict: bool, format_: str, save: tuple[str, ...], **settings: Any) -> ExitCode:
    """Check your code in CI, in seconds.

    Print one line on success, the full report on failure.

    Check each TARGET on small problems. Without TARGET, check bncheck itself: the reference must pass on problems of
    different shapes and scales, and one injected mistake of each kind must be detected.
    """
    if targets:
        names = load_targets(targets)
        from bncheck.cli.checks import check_targets  # noqa: PLC0415 - imports numpy
        from bncheck.model.problem import random_problem  # noqa: PLC0415 - imports numpy

        problem = random_problem(**SMOKE_SHAPE)
        return check_targets(names, problem, format_, save, strict=strict, brief=True, **settings)
    from bncheck.render.selftest_report import SelftestReport  # noqa: PLC0415 - imports numpy
    from bncheck.selftest import trials  # noqa: PLC0415 - imports numpy

    with Output(format_, save, brief=True) as output:
        result = trials.smoke()
        output.show(SelftestReport(result))
    return ExitCode.from_passed(result.passed)
