"""``bncheck report``: the tables of saved sweeps."""

from pathlib import Path

import click

from bncheck.cli.command import ExitCode, command
from bncheck.cli.output import CHECK_FORMATS, Output, output_options, plot_option


@command(
    "bncheck report rows.jsonl",
    "bncheck report rows.jsonl --format junit --save rows.json",
    "bncheck report rows.jsonl --plot v.svg",
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@output_options(*CHECK_FORMATS)
@plot_option
def report(files: tuple[Path, ...], format_: str, save: tuple[str, ...], plot: tuple[str, ...]) -> ExitCode:
    """Show the tables of saved sweeps.

    A check that occurs in several files is counted once. Each row is one line of JSON. Load a file with
    pandas.read_json(FILE, lines=True).
    """
    from bncheck.render.sweep_report import SweepReport  # noqa: PLC0415 - imports numpy
    from bncheck.sweeps.aggregate import SweepSummary  # noqa: PLC0415 - imports numpy
    from bncheck.sweeps.rows import Row  # noqa: PLC0415 - imports numpy
    from bncheck.sweeps.sweep_file import rows_of  # noqa: PLC0415 - imports numpy

    summary, keys, rows = SweepSummary(), set[int](), list[Row]()
    with Output(format_, save, plot, [*map(str, files)]) as output:
        for row in (row for path in files for row in rows_of(path) if row.point.key not in keys):
            keys.add(row.point.key)
            summary.add(row)
            if output.needs_all_rows:
                rows.append(row)
        if not summary.count:
            raise click.UsageError(f"no rows in {', '.join(map(str, files))}")
        output.show(SweepReport(summary, rows=rows))
    return ExitCode.from_passed(summary.passed)
