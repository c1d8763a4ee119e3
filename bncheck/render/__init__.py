"""One registry of formats, which serves every command: reports in, something to show out. Nothing here prints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

from rich.console import Group, RenderableType

from bncheck.render.encoding import escape_control_chars
from bncheck.render.report import Report


@dataclass(frozen=True, slots=True)
class Format:
    """A way to show reports: a string is written as it is, anything else laid out by rich."""

    show: Callable[[Sequence[Report], bool], RenderableType | str]  # of these reports, and whether they are several
    suffix: str = ""  # of files that are saved in it
    printed: bool = True  # --format offers it
    single_document: bool = False  # one document of all reports, which can only be written at the end
    needs_all_rows: bool = False  # a sweep keeps all its rows for it, not only what they come to

    def content(self, reports: Sequence[Report], several: bool) -> bytes:
        """Return what a file of it holds."""
        return str(self.show(reports, several)).encode()


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing of the last report, a sweep's; its module needs matplotlib, which is not always installed."""

    kind: str
    needs_all_rows: bool = False

    @property
    def suffix(self) -> str:
        """The end of a name of a file."""
        return f".{self.kind}"

    def content(self, reports: Sequence[Report], _: bool) -> bytes:
        """Return what a file of it holds."""
        return cast(bytes, import_module("bncheck.render.plots.figure").picture(reports[-1], self.kind))


def as_json(reports: Sequence[Report], several: bool) -> str:
    """Return the document of a report; of several an array of them."""
    import json  # noqa: PLC0415 - most reports are tables

    documents: list[Any] = [data for report in reports if (data := report.data()) is not None]
    content = documents if several else documents[0] if documents else None
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _by(module: str, function: str) -> Callable[[Sequence[Report], bool], str]:
    """Return what shows all reports together, from a module that is imported when it is needed."""
    return lambda reports, _: str(getattr(import_module(f"bncheck.render.{module}"), function)(reports))


def _each(show: Callable[[Report], str]) -> Callable[[Sequence[Report], bool], str]:
    return lambda reports, _: "".join(map(show, reports))


# By the name that --format takes.
FORMATS: Mapping[str, Format] = {
    "table": Format(lambda reports, _: Group(*reports)),
    "json": Format(as_json, ".json", single_document=True, needs_all_rows=True),
    "markdown": Format(_each(lambda report: escape_control_chars(f"{report.markdown()}\n")), ".md"),
    "junit": Format(_by("junit", "junit"), ".xml", single_document=True, needs_all_rows=True),
    "github": Format(_by("github", "github"), needs_all_rows=True),
    "latex": Format(_each(lambda report: str(cast(Any, report).latex())), ".tex"),
    "html": Format(_by("export", "html"), ".html", printed=False),
    "svg": Format(_by("export", "svg"), ".svg", printed=False),
    "txt": Format(_by("export", "text"), ".txt", printed=False),
}

# What --plot writes.
PICTURES = tuple(map(Picture, ("png", "svg", "pdf")))
