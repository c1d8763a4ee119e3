"""Where reports go: stdout in one format, files in others, and GitHub's page of a job."""

import os
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from bncheck.cli import streams
from bncheck.cli.sections import SectionOption
from bncheck.errors import InvalidInput
from bncheck.render import FORMATS, Format
from bncheck.render.report import Report
from bncheck.render.spelling import speakable

if TYPE_CHECKING:
    PathType = click.ParamType[Any]
else:
    PathType = click.ParamType  # generic from click 8.4 on

Command = TypeVar("Command", bound=Callable[..., Any])

# What every command that judges something offers, and what is only ever saved.
JUDGED = ("table", "json", "markdown", "junit", "github")
SAVED = tuple(name for name, format_ in FORMATS.items() if not format_.printed)


class SaveFile(PathType):
    """A file to write, in the format that its name's end says."""

    name = "file"

    def __init__(self, formats: Sequence[str]) -> None:
        self.suffixes = [FORMATS[name].suffix for name in (*SAVED, *formats) if FORMATS[name].suffix]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path, or refuse an ending that stands for no format."""
        if _suffix(value) not in self.suffixes:
            known = f"{', '.join(self.suffixes[:-1])} or {self.suffixes[-1]}"
            self.fail(f"{value!r} does not say a format; end it in {known}", param, ctx)
        return str(value)


def output_options(*formats: str, streamed: str = "") -> Callable[[Command], Command]:
    """Give a command --format, of these and ``streamed``, which it writes itself, and --save."""
    save = SaveFile([name for name in formats if name in FORMATS])
    endings = ",".join(suffix[1:] for suffix in save.suffixes)
    printed = [*formats, *filter(None, [streamed])]

    def decorate(command: Command) -> Command:
        command = click.option(
            "--save", cls=SectionOption, section="Output", type=save, multiple=True, metavar=f"FILE.{{{endings}}}",
            help="Write the report to this file, too; may be repeated.  [default: none]",
        )(command)  # fmt: skip
        return click.option(
            "--format", "format_", cls=SectionOption, section="Output", type=click.Choice(printed), default="table",
            help="Write to stdout in this format.",
        )(command)  # fmt: skip

    return decorate


class Output:
    """Shows reports as they come, or at the end those of a format that is one document of them all.

    Files are opened at once, so that one that cannot be written is known before the work; an
    older one keeps what it holds until there is something to write.

    Raises
    ------
    InvalidInput
        A file cannot be written.
    """

    def __init__(self, format_: str, save: Sequence[str], *, several: bool = False, brief: bool = False) -> None:
        self._format, self._several = FORMATS.get(format_), several
        self._brief = brief and format_ == "table"
        self._kept: list[Report] = []
        self._save: list[tuple[str, bool, IO[str]]] = []
        for path in save:
            existed = os.path.exists(path)
            try:
                file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed in __exit__
                self._save.append((path, existed, file))
            except OSError as error:
                self._leave()
                raise InvalidInput(f"cannot write {path}: {error.strerror}") from error
        self._page = os.environ.get("GITHUB_STEP_SUMMARY", "") if format_ == "github" else ""

    @property
    def every_check(self) -> bool:
        """Whether a sweep must keep all its rows to be shown."""
        formats = [self._format, *(_format_of(path) for path, _, _ in self._save)]
        return any(format_ is not None and format_.every_check for format_ in formats)

    def show(self, report: Report, *, told: bool = False) -> None:
        """Write a report, now or at the end; what stderr has ``told`` is no table on stdout as well."""
        if self._save or (self._format is not None and self._format.whole):
            self._kept.append(report)  # first: stdout may not take it
        if told and self._format is FORMATS["table"]:
            pass
        elif self._brief and report.passed:
            streams.write(f"{report.headline}\n")
        elif self._format is not None and not self._format.whole:
            streams.write(self._format.show([report], self._several))
        if self._page:
            self._append(speakable(report.markdown()))

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Write what is left to write, whatever ended the work; one place that cannot be written spoils no other."""
        if not self._kept:
            self._leave()
            return
        refused = [told for path, _, file in self._save if (told := self._saved(path, file))]
        if self._format is not None and self._format.whole:
            streams.write(self._format.show(self._kept, self._several))
        if refused:
            raise InvalidInput("; ".join(refused))

    def _saved(self, path: str, file: IO[str]) -> str:
        """Write a file, and return what went wrong, if anything did."""
        content = str(_format_of(path).show(self._kept, self._several))
        try:
            with file:
                if os.path.isfile(path):  # and no pipe or device
                    file.truncate(0)
                file.write(content)
        except OSError as error:
            return f"cannot write {path}: {error.strerror}"
        return ""

    def _leave(self) -> None:
        """Leave the files as they were."""
        for path, existed, file in self._save:
            file.close()
            if not existed:
                os.remove(path)

    def _append(self, markdown: str) -> None:
        """Add to the page of the job; that it cannot be is told, and changes no verdict."""
        try:
            with open(self._page, "a", encoding="utf-8") as page:
                page.write(f"{markdown}\n")
        except OSError as error:
            click.echo(f"GITHUB_STEP_SUMMARY {self._page} cannot be written: {error.strerror}", err=True)
            self._page = ""


def refuse_same(path: str | None, others: Iterable[str]) -> None:
    """Refuse to save over a file of rows.

    Raises
    ------
    click.UsageError
        They are the same file.
    """
    for other in others:
        if path and os.path.realpath(path) == os.path.realpath(other):
            raise click.UsageError(f"--save {other} would overwrite the rows in {path}; name another file")


def _format_of(path: str) -> Format:
    return next(format_ for format_ in FORMATS.values() if format_.suffix == _suffix(path))


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
