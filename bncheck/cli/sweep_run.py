"""The run of a sweep: its rows go to a file, to stdout and into a report."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from bncheck.cli import signals, stdio
from bncheck.cli.checks import expand_targets
from bncheck.cli.exit_codes import ExitCode
from bncheck.cli.output import Output
from bncheck.cli.progress import ProgressDisplay
from bncheck.errors import BncheckError, InvalidInput
from bncheck.model.options import CheckOptions, build_command
from bncheck.model.results import Verdict
from bncheck.render.sweep_report import SweepReport
from bncheck.sweeps.aggregate import SweepSummary
from bncheck.sweeps.convergence import observed_orders
from bncheck.sweeps.sweep import Grid, Row, create_pool, run_grid
from bncheck.sweeps.sweep_file import SweepFile, rows_of


def run_sweep(
    targets: Sequence[str],
    axes: Mapping[str, tuple[Any, ...]],
    options: CheckOptions,
    output: Output,
    *,
    jobs: int,
    dask: str | None,
    out: Path | None,
    resume: bool,
    stream_rows: bool,
) -> ExitCode:
    """Run a sweep and show its report, also if it is interrupted.

    Parameters
    ----------
    targets : sequence of str
        Targets as the user named them, patterns included.
    axes : mapping of str to tuple
        The values of each axis but the target.
    options : CheckOptions
        Options that all checks share.
    output : Output
        Where the report is written.
    jobs, dask, out, resume
        The options of ``bncheck sweep``.
    stream_rows : bool
        Whether each row is written to stdout when it is finished.

    Raises
    ------
    InvalidInput
        If the settings are invalid, or if the file or the Dask scheduler fails.
    """
    grid = Grid({"target": tuple(expand_targets(targets)), **axes}, options)
    settings = {**asdict(options), **axes}  # the axes scheme and step replace the defaults in the options
    summary, rows, started = SweepSummary(), list[Row](), time.monotonic()

    def record_row(row: Row) -> None:
        summary.add(row.rounded)  # so that bncheck report shows the same for the file
        if output.needs_all_rows:
            rows.append(row)

    def show_report(orders: Mapping[str, Mapping[str, float]]) -> None:
        if summary.count:
            command = build_command("sweep", targets, settings)
            output.show(SweepReport(summary, command, orders, time.monotonic() - started, rows))

    with ExitStack() as stack:
        pool = create_pool(grid, jobs, dask, partial(click.echo, err=True))
        if pool is not None:
            stack.callback(pool.close)
        file = None if out is None else stack.enter_context(closing(SweepFile(out, grid.name, resume=resume)))
        if resume and out is not None:
            for row in rows_of(out):
                record_row(row)
        try:
            with ProgressDisplay("checks", log=True) as progress:
                for row in run_grid(grid, pool, done=file.completed_keys if file else ()):
                    with signals.defer_signals():  # the report shows exactly the rows of the file
                        if file is not None:
                            file.append(row)
                        record_row(row)
                    if stream_rows:
                        stdio.write(row.line(grid.name) + "\n")
                    failed = summary.total.verdicts[Verdict.FAIL] + summary.total.verdicts[None]
                    progress.update(summary.count, len(grid), f"{failed:,} failed")
        except (KeyboardInterrupt, Exception) as error:
            # Some compiled code turns KeyboardInterrupt into another exception.
            interrupted = isinstance(error, KeyboardInterrupt) or bool(signals.received_signals)
            if not interrupted and not isinstance(error, BncheckError):
                raise
            show_report({})
            position = f"after {summary.count:,} of {len(grid):,} checks."
            if out:
                position += f" Resume with: {build_command('sweep', targets, settings | {'out': out, 'resume': True})}"
            if not interrupted:
                raise InvalidInput(f"{error}; stopped {position}") from error
            click.echo(f"Interrupted {position}", err=True)
            return ExitCode.INTERRUPTED
        show_report(observed_orders(grid))
    return ExitCode.PASS if summary.passed else ExitCode.NOT_PASSED
