"""The run of a sweep: its rows go to a file, to stdout and into a report."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import click

from bncheck.cli import signals, stdio
from bncheck.cli.command import ExitCode
from bncheck.cli.output import Output
from bncheck.cli.progress import ProgressDisplay
from bncheck.cli.targets import expand_targets, prepare_for
from bncheck.errors import BncheckError, InvalidInput
from bncheck.execution.pool import WorkerPool
from bncheck.model.options import CheckOptions, build_command, parse_gradient_names
from bncheck.model.verdict import Verdict
from bncheck.render.encoding import escape_json
from bncheck.render.sweep_report import SweepReport
from bncheck.sweeps.aggregate import SweepSummary
from bncheck.sweeps.convergence import observed_orders
from bncheck.sweeps.grid import Grid
from bncheck.sweeps.rows import Row
from bncheck.sweeps.runner import create_pool, run_grid
from bncheck.sweeps.sweep_file import SweepFile


class SweepRun:
    """The rows of a sweep that are finished, and the report of them."""

    def __init__(self, grid: Grid, command: str, output: Output) -> None:
        self.grid, self._total, self._command, self._output = grid, len(grid), command, output
        self.summary, self._rows, self._started = SweepSummary(), list[Row](), time.monotonic()

    def record_row(self, row: Row) -> None:
        """Add a row to the report."""
        self.summary.add(row.rounded)  # so that bncheck report shows the same for the file
        if self._output.needs_all_rows:
            self._rows.append(row)

    def run(self, pool: WorkerPool | None, file: SweepFile | None, *, stream_rows: bool) -> None:
        """Run the checks that the file does not contain."""
        with ProgressDisplay("checks", log=True) as progress:
            for row in run_grid(self.grid, pool, done=file.completed_keys if file else ()):
                with signals.defer_signals():  # the report shows exactly the rows of the file
                    if file is not None:
                        file.append(row)
                    self.record_row(row)
                if stream_rows:
                    stdio.write(escape_json(row.to_json(self.grid.sweep_id)) + "\n")
                verdicts = self.summary.total.verdicts
                failed = verdicts[Verdict.FAIL] + verdicts[None]
                progress.update(self.summary.count, self._total, f"{failed:,} failed")

    def end_early(self, error: BaseException, resume_command: str) -> ExitCode:
        """Show the finished rows, and how to resume; raise the error if it is not an interruption."""
        # Some compiled code turns KeyboardInterrupt into another exception.
        interrupted = isinstance(error, KeyboardInterrupt) or bool(signals.received_signals)
        self.show_report({})
        if not interrupted and not isinstance(error, BncheckError):
            raise error
        position = f"after {self.summary.count:,} of {self._total:,} checks."
        position += f" Resume with: {resume_command}" if resume_command else ""
        if not interrupted:
            raise InvalidInput(f"{error}; stopped {position}") from error
        stdio.write_message(f"Interrupted {position}")
        return ExitCode.INTERRUPTED

    def show_report(self, orders: Mapping[str, Mapping[str, float]]) -> None:
        """Show the report of the finished rows, if there are any."""
        if self.summary.count:
            seconds = time.monotonic() - self._started
            self._output.show(SweepReport(self.summary, self._command, orders, seconds, self._rows))


def run_sweep(
    *, targets: Sequence[str], engine: str, only: Sequence[str], rtol: float | None, atol: float | None,
    jobs: int, dask: str | None, out: str | None, resume: bool, call_timeout: float, timeout: float, memory: str | None,
    format_: str, save: Sequence[str], plot: Sequence[str], **axes: tuple[Any, ...],
) -> ExitCode:  # fmt: skip
    """Run a sweep and show its report, also if it is interrupted.

    The parameters are the options of ``bncheck sweep``; ``targets`` are as the user typed them, patterns included.

    Raises
    ------
    InvalidInput
        If the settings are invalid, or if the file or the Dask scheduler fails.
    click.UsageError
        If two options cannot be combined.
    """
    if resume and out is None:
        raise click.UsageError("--resume requires --out")
    if dask is not None and jobs > 1:
        raise click.UsageError("--jobs and --dask cannot be combined")
    options = CheckOptions(engine=engine, only=parse_gradient_names(only), rtol=rtol, atol=atol)
    limits = {"call_timeout": call_timeout, "timeout": timeout, "memory": memory}
    names = expand_targets(targets)
    prepare_for(names)
    grid = Grid({"target": tuple(names), **axes}, options, limits)
    build = partial(build_command, "sweep", targets or ("reference",))
    settings = {**options.as_dict(), **axes, **limits}  # the axes scheme and step replace the defaults in the options
    with ExitStack() as stack:
        run = SweepRun(grid, build(settings), stack.enter_context(Output(format_, save, plot, [out] if out else [])))
        pool = create_pool(grid, jobs, dask, stdio.write_message)
        if pool is not None:
            stack.callback(pool.close)
        file = None
        if out is not None:
            file = stack.enter_context(closing(SweepFile(Path(out), grid.sweep_id, run.record_row, resume=resume)))
        try:
            run.run(pool, file, stream_rows=format_ == "jsonl")
            orders = observed_orders(grid)
        except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001 - end_early raises it unless it is an interruption
            return run.end_early(error, build(settings | {"out": out, "resume": True}) if out else "")
        run.show_report(orders)
        return ExitCode.from_passed(run.summary.passed)
