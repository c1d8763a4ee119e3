"""Where reports go: stdout in one format, files in others, and GitHub's page of a job."""

import os
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar

import click

from bncheck.cli import stdio
from bncheck.cli.sections import SectionOption
from bncheck.errors import InvalidInput
from bncheck.render import FORMATS, PICTURES, Format, Picture
from bncheck.render.encoding import escape_control_chars
from bncheck.render.report import Report

if TYPE_CHECKING:
    PathType = click.ParamType[Any]
else:
    PathType = click.ParamType  # generic from click 8.4 on

Command = TypeVar("Command", bound=Callable[..., Any])

# What every command that judges something offers, and what is only ever saved.
CHECK_FORMATS = ("table", "json", "markdown", "junit", "github")
FILE_ONLY_FORMATS = tuple(name for name, format_ in FORMATS.items() if not format_.printed)


class SaveFile(PathType):
    """A file to write, in the format that its name's end says."""

    name = "file"

    def __init__(self, formats: Iterable[Format | Picture]) -> None:
        self.suffixes = [format_.suffix for format_ in formats if format_.suffix]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path, or refuse an ending that stands for no format."""
        if _suffix(value) not in self.suffixes:
            known = f"{', '.join(self.suffixes[:-1])} or {self.suffixes[-1]}"
            self.fail(f"{value!r} does not say a format; end it in {known}", param, ctx)
        return str(value)

    @property
    def metavar(self) -> str:
        """What stands for it in a help text."""
        return f"FILE.{{{','.join(suffix[1:] for suffix in self.suffixes)}}}"


class PictureFile(SaveFile):
    """A picture to write, for which matplotlib is needed."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path, or refuse it where nothing can be drawn."""
        path = super().convert(value, param, ctx)
        try:
            import_module("bncheck.render.plots.figure")
        except Exception as error:  # a matplotlib that is broken, by another numpy say, raises anything
            raise click.UsageError("--plot needs matplotlib: pip install 'bncheck[plot]'") from error
        return path


def plot_option(command: Command) -> Command:
    """Give a command --plot."""
    pictures = PictureFile(PICTURES)
    return click.option(
        "--plot", cls=SectionOption, section="Output", type=pictures, multiple=True, metavar=pictures.metavar,
        help="Draw it to this file, too; may be repeated.  [default: none]",
    )(command)  # fmt: skip


def output_options(*formats: str, streamed: str = "") -> Callable[[Command], Command]:
    """Give a command --format, of these and ``streamed``, which it writes itself, and --save."""
    save = SaveFile(FORMATS[name] for name in (*FILE_ONLY_FORMATS, *formats) if name in FORMATS)
    printed = [*formats, *filter(None, [streamed])]

    def decorate(command: Command) -> Command:
        command = click.option(
            "--save", cls=SectionOption, section="Output", type=save, multiple=True, metavar=save.metavar,
            help="Write the report to this file, too; may be repeated.  [default: none]",
        )(command)  # fmt: skip
        return click.option(
            "--format", "format_", cls=SectionOption, section="Output", type=click.Choice(printed), default="table",
            help="Write to stdout in this format.",
        )(command)  # fmt: skip

    return decorate


class OutputFile(NamedTuple):
    """A file that is open, and what will be written to it."""

    path: str
    existed: bool
    file: BinaryIO
    format_: Format | Picture


class Output:
    """Shows reports as they come, or at the end those of a format that is one document of them all.

    Files are opened at once, so that one that cannot be written is known before the work; an
    older one keeps what it holds until there is something to write.

    Raises
    ------
    InvalidInput
        A file cannot be written.
    """

    def __init__(
        self, format_: str, save: Sequence[str], plot: Sequence[str] = (), *, several: bool = False, brief: bool = False
    ) -> None:
        self._format, self._several = FORMATS.get(format_), several
        self._brief = brief and format_ == "table"
        self._pending_reports: list[Report] = []
        self._files: list[OutputFile] = []
        wanted = [(path, _format_of(path, FORMATS.values())) for path in save]
        for path, content in (*wanted, *((path, _format_of(path, PICTURES)) for path in plot)):
            existed = os.path.exists(path)
            try:
                file = open(path, "ab")  # noqa: SIM115 - closed in __exit__
                self._files.append(OutputFile(path, existed, file, content))
            except OSError as error:
                self._leave()
                raise InvalidInput(f"cannot write {path}: {error.strerror}") from error
        self._job_summary_path = os.environ.get("GITHUB_STEP_SUMMARY", "") if format_ == "github" else ""

    @property
    def needs_all_rows(self) -> bool:
        """Whether a sweep must keep all its rows to be shown."""
        formats = [self._format, *(place.format_ for place in self._files)]
        return any(format_ is not None and format_.needs_all_rows for format_ in formats)

    def show(self, report: Report, *, told: bool = False) -> None:
        """Write a report, now or at the end; what stderr has ``told`` is no table on stdout as well."""
        if self._files or (self._format is not None and self._format.single_document):
            self._pending_reports.append(report)  # first: stdout may not take it
        if told and self._format is FORMATS["table"]:
            pass
        elif self._brief and report.passed:
            stdio.write(f"{report.headline}\n")
        elif self._format is not None and not self._format.single_document:
            stdio.write(self._format.show([report], self._several))
        if self._job_summary_path:
            self._append_to_job_summary(escape_control_chars(report.markdown()))

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Write what is left to write, whatever ended the work; one place that cannot be written spoils no other."""
        if not self._pending_reports:
            self._leave()
            return
        refused = [told for place in self._files if (told := self._saved(place))]
        if self._format is not None and self._format.single_document:
            stdio.write(self._format.show(self._pending_reports, self._several))
        if refused:
            raise InvalidInput("; ".join(refused))

    def _saved(self, place: OutputFile) -> str:
        """Write a file, and return what went wrong, if anything did."""
        content = place.format_.content(self._pending_reports, self._several)
        try:
            with place.file as file:
                if os.path.isfile(place.path):  # and no pipe or device
                    file.truncate(0)
                file.write(content)
        except OSError as error:
            return f"cannot write {place.path}: {error.strerror}"
        return ""

    def _leave(self) -> None:
        """Leave the files as they were."""
        for place in self._files:
            place.file.close()
            if not place.existed:
                os.remove(place.path)

    def _append_to_job_summary(self, markdown: str) -> None:
        """Add to the page of the job; that it cannot be is told, and changes no verdict."""
        try:
            with open(self._job_summary_path, "a", encoding="utf-8") as page:
                page.write(f"{markdown}\n")
        except OSError as error:
            click.echo(f"GITHUB_STEP_SUMMARY {self._job_summary_path} cannot be written: {error.strerror}", err=True)
            self._job_summary_path = ""


def refuse_same(rows: Iterable[str], save: Iterable[str], plot: Iterable[str]) -> None:
    """Refuse to save or to draw over a file of rows, and to do both to one file.

    Raises
    ------
    click.UsageError
        Two are the same file.
    """
    taken = {os.path.realpath(path): f"the rows in {path}" for path in rows}
    for option, paths in (("--save", save), ("--plot", plot)):
        for path in paths:
            if told := taken.get(os.path.realpath(path)):
                raise click.UsageError(f"{option} {path} would overwrite {told}; name another file")
        taken |= {os.path.realpath(path): f"{option} {path}" for path in paths}


def _format_of(path: str, formats: Iterable[Format | Picture]) -> Format | Picture:
    return next(format_ for format_ in formats if format_.suffix == _suffix(path))


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
