"""Where reports are written: to stdout in one format, to files, and to the job summary of GitHub."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from bncheck.cli import files, stdio
from bncheck.cli.command import Command, SectionOption
from bncheck.cli.parameters import Choice, ParamType
from bncheck.errors import BncheckError, InvalidInput, explain_os_error
from bncheck.render import FORMATS, PICTURES, Format, Picture
from bncheck.render.encoding import escape_control_chars, escape_user_text

if TYPE_CHECKING:  # rich and numpy, which help texts do not need
    from bncheck.render.report import Report

# The formats of every command that gives a verdict, and the formats that are only saved.
CHECK_FORMATS = ("table", "json", "markdown", "junit", "github")
FILE_ONLY_FORMATS = tuple(name for name, format_ in FORMATS.items() if not format_.printed)


class SaveFile(ParamType):
    """A file to write; the suffix of its name is the format. A picture requires matplotlib."""

    name = "file"

    def __init__(self, formats: Iterable[Format | Picture]) -> None:
        self._formats = {format_.suffix: format_ for format_ in formats if format_.suffix}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path; reject a suffix that is not the suffix of a format, and a picture without matplotlib."""
        *suffixes, last = self._formats
        format_ = self._formats.get(_suffix(value))
        if format_ is None:
            self.fail(f"cannot tell a format from {value!r}; use {', '.join(suffixes)} or {last}", param, ctx)
        if isinstance(format_, Picture):
            try:
                import bncheck.render.plots.figure  # noqa: F401, PLC0415 - raises if matplotlib does not work
            except Exception as error:  # a broken matplotlib, for example built for another numpy, raises any exception
                message = "--plot requires matplotlib; install it with: pip install 'bncheck[plot]'"
                raise click.UsageError(message) from error
        return str(value)

    def option(self, flag: str, help_text: str) -> Callable[[Command], Command]:
        """Return the option for any number of files; the help shows FILE.{md,json}."""
        suffixes = ",".join(suffix[1:] for suffix in self._formats)
        return click.option(
            flag, cls=SectionOption, section="Output", default_text="none", type=self, multiple=True,
            metavar=f"FILE.{{{suffixes}}}", help=help_text,
        )  # fmt: skip


plot_option = SaveFile(PICTURES).option("--plot", "Also save a plot to FILE. Repeatable.")


def output_options(*formats: str, streamed: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Add --format, with these formats and those that the command writes itself (``streamed``), and --save."""
    saved = SaveFile(FORMATS[name] for name in (*FILE_ONLY_FORMATS, *formats))

    def decorate(command: Command) -> Command:
        command = saved.option("--save", "Also save the report to FILE (format: its suffix). Repeatable.")(command)
        return click.option(
            "--format", "format_", cls=SectionOption, section="Output", type=Choice([*formats, *streamed]),
            default="table", help="Format of the report on stdout.",
        )(command)  # fmt: skip

    return decorate


class Output:
    """Writes each report at once or, in a format that is one document of all reports, at exit.

    Whether each file can be written is tested before the command starts its work, so that an error is reported
    immediately. A file keeps its content until there is a report, which then replaces it as a unit.

    Parameters
    ----------
    format_ : str
        The format on stdout; a name that is not in ``FORMATS`` is written by the command itself.
    save, plot : sequence of str
        Files for reports and for plots.
    rows : sequence of str
        Files with the rows of sweeps, which no report may overwrite.
    several : bool, default False
        Whether there is more than one report: a JSON document is then an array.
    brief : bool, default False
        Write only the first line of a report that passed, if the format is a table.

    Raises
    ------
    InvalidInput
        If a file cannot be written.
    click.UsageError
        If two outputs are the same file.
    """

    def __init__(
        self, format_: str, save: Sequence[str], plot: Sequence[str] = (), rows: Sequence[str] = (), *,
        several: bool = False, brief: bool = False,
    ) -> None:  # fmt: skip
        self._format, self._several = FORMATS.get(format_), several
        self._brief = brief and format_ == "table"
        self._pending_reports: list[Report] = []
        self._job_summary_path = os.environ.get("GITHUB_STEP_SUMMARY", "") if format_ == "github" else ""
        _require_different_files(save, plot, rows, self._job_summary_path)
        reports: dict[str, Format | Picture] = {format_.suffix: format_ for format_ in FORMATS.values()}
        pictures: dict[str, Format | Picture] = {picture.suffix: picture for picture in PICTURES}
        self._files = [(path, reports[_suffix(path)]) for path in save]
        self._files += [(path, pictures[_suffix(path)]) for path in plot]
        for path, _ in self._files:
            with explain_os_error(f"write {path}"):
                files.require_replaceable(path)

    @property
    def needs_all_rows(self) -> bool:
        """Whether a sweep must keep all its rows."""
        formats = [self._format, *(format_ for _, format_ in self._files)]
        return any(format_ is not None and format_.needs_all_rows for format_ in formats)

    def show(self, report: "Report", *, on_stderr: bool = False) -> None:
        """Write a report now or at exit. With ``on_stderr``, skip the table on stdout."""
        is_document = self._format is not None and self._format.single_document
        if self._files or is_document:
            self._pending_reports.append(report)  # before stdout, which may raise
        if self._brief and report.passed:
            stdio.write(escape_user_text(f"{report.headline}\n"))
        elif self._format is not None and not is_document and not (on_stderr and self._format is FORMATS["table"]):
            stdio.write(self._format.show([report], self._several))
        if self._job_summary_path:
            self._append_to_job_summary(escape_control_chars(report.markdown()))

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        """Write the pending reports, also after an exception; try every output, even if another one fails."""
        if not self._pending_reports:
            return
        failures = [failure for path, format_ in self._files if (failure := self._write_file(path, format_))]
        if self._format is not None and self._format.single_document:
            try:
                stdio.write(self._format.show(self._pending_reports, self._several))
            except InvalidInput as failure:
                failures.append(str(failure))
        if failures:
            reason = [str(error)] if isinstance(error, BncheckError) else []
            raise InvalidInput("; ".join([*reason, *failures]))

    def _write_file(self, path: str, format_: Format | Picture) -> str:
        """Write a file, and return the error message, if any."""
        content = format_.content(self._pending_reports, self._several)
        try:
            with explain_os_error(f"write {path}"):
                files.replace_content(path, content)
        except InvalidInput as failure:
            return str(failure)
        return ""

    def _append_to_job_summary(self, markdown: str) -> None:
        """Append to the job summary; an error is a warning and does not change the exit code."""
        try:
            with open(self._job_summary_path, "a", encoding="utf-8") as summary:
                summary.write(f"{markdown}\n")
        except OSError as error:
            stdio.write_message(f"GITHUB_STEP_SUMMARY {self._job_summary_path} cannot be written: {error.strerror}")
            self._job_summary_path = ""


def _require_different_files(save: Iterable[str], plot: Iterable[str], rows: Iterable[str], job_summary: str) -> None:
    """Check that no file is written twice, and that no file of rows is overwritten.

    Raises
    ------
    click.UsageError
        If two of the paths are the same file.
    """
    outputs = [("stdout", "/dev/stdout"), *((f"--save {path}", path) for path in save)]
    outputs += [("the job summary", job_summary)] if job_summary else []
    outputs += [(f"--plot {path}", path) for path in plot]
    with explain_os_error("find the working directory"):
        used: dict[object, str] = {files.identify(path): f"the rows in {path}" for path in rows}
        for name, path in outputs:
            identity = files.identify(path)
            if identity is not None and identity in used:
                raise click.UsageError(f"{name} would overwrite {used[identity]}; choose another file")
            used[identity] = name


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
