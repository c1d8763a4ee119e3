"""``bncheck selftest``, the checker's own proof, and ``bncheck smoke``, its smallest size."""

import json
import os
import sys

import click

from bncheck import selftest as proof
from bncheck.cli import streams
from bncheck.cli.exits import ExitCode
from bncheck.cli.parameters import SIZE
from bncheck.render.selftest_report import SelftestReport, smoke_line


@click.command(epilog="Example: bncheck smoke")
def smoke() -> ExitCode:
    """Check that bncheck works here, in seconds; for CI.

    The reference must pass on small problems of unlike shapes and scales, and a planted mistake
    of each kind must be caught. One line on success, the full story otherwise.
    """
    result = proof.smoke()
    streams.write(f"{smoke_line(result)}\n" if result.passed else SelftestReport(result))
    return ExitCode.PASS if result.passed else ExitCode.WRONG


@click.command(epilog="Example: bncheck selftest --problems 10")
@click.option("--problems", type=SIZE, default=2, help="Random problems that each mistake is planted in.")
@click.option("--jobs", type=SIZE, default=os.cpu_count() or 1, show_default="one per core", help="Processes.")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", help="On stdout.")
def selftest(problems: int, jobs: int, format_: str) -> ExitCode:
    """Prove that bncheck can be relied on: mistakes are caught, right code passes.

    Every mistake of the catalogue is planted in random problems and must be caught; right code
    is tried over hard scales, means and epsilons; and errors of known sizes are planted in
    right gradients, beside the resolution that is claimed. Exits 1 if anything is missed.
    """
    live = sys.stderr.isatty()

    def progress(done: int, total: int) -> None:
        if live:
            click.echo(f"\r\x1b[K  {done:,} of {total:,}" if done < total else "\r\x1b[K", nl=False, err=True)

    result = proof.selftest(problems, jobs=jobs, progress=progress)
    document = json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n" if format_ == "json" else None
    streams.write(document or SelftestReport(result))
    return ExitCode.PASS if result.passed else ExitCode.WRONG
