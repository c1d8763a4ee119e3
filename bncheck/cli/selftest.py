"""``bncheck selftest``: tests of bncheck itself."""

import os

from bncheck.cli.command import ExitCode, command, options
from bncheck.cli.output import CHECK_FORMATS, Output, output_options
from bncheck.cli.progress import ProgressDisplay


@command(
    "bncheck selftest",
    "bncheck selftest --problems 1 --jobs 1",
    "bncheck selftest --format json --save selftest.svg",
    short_help="Test bncheck itself.",
)
@options("problems", "jobs", jobs=os.cpu_count() or 1)
@output_options(*CHECK_FORMATS)
def selftest(problems: int, jobs: int, format_: str, save: tuple[str, ...]) -> ExitCode:
    """Test bncheck itself: mistakes are detected, correct implementations pass.

    Inject every mistake of the catalogue into random problems and require that it is detected. Run correct
    implementations on extreme scales, means and eps. Inject errors of known size to test the claimed resolution. Exit
    with 1 if any of these fails.
    """
    from bncheck.render.selftest_report import SelftestReport  # noqa: PLC0415 - imports numpy
    from bncheck.selftest import trials  # noqa: PLC0415 - imports numpy

    with Output(format_, save) as output:
        with ProgressDisplay("trials") as progress:
            result = trials.selftest(problems, jobs=jobs, progress=progress.update)
        output.show(SelftestReport(result))
    return ExitCode.from_passed(result.passed)
