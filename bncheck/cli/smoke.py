"""``bncheck smoke``: seconds, no options needed, for CI."""

import click

from bncheck.cli import streams
from bncheck.cli.exits import ExitCode
from bncheck.render.check_report import CheckReport
from bncheck.results import Verdict
from bncheck.selftest import PLANTED
from bncheck.selftest import smoke as run_smoke


@click.command(epilog="Example: bncheck smoke")
def smoke() -> ExitCode:
    """Check that bncheck works here, in seconds; for CI.

    The reference must pass on small problems of unlike shapes and scales, and a planted mistake
    must be caught. One line on success, the failing checks in full otherwise.
    """
    result = run_smoke()
    good = [c for c in result.checks if c.verdict is Verdict.PASS]
    if result.passed:
        streams.write(
            f"smoke: {len(good)} problems pass, 1 planted mistake is caught ({PLANTED}), {result.seconds:.1f} s\n"
        )
        return ExitCode.PASS
    for failed in (c for c in result.checks if c.verdict is not Verdict.PASS):
        streams.write(CheckReport(failed))
    if not result.caught:
        streams.write(CheckReport(result.planted))
        streams.write(f"The planted mistake ({PLANTED}) was not caught as what it is.\n")
    streams.write(f"smoke: {len(good)} of {len(result.checks)} problems pass\n")
    return ExitCode.WRONG
