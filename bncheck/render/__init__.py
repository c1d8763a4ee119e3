"""The registry of output formats, shared by all commands. Nothing here prints.

A module that writes a format is imported when the format is used: the command line reads the registry at start-up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from bncheck.render.encoding import escape_json, escape_user_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bncheck.render.report import Report

# Renders reports; the flag says that the command reports several targets, even if only one report exists yet.
Show: TypeAlias = "Callable[[Sequence[Report], bool], RenderableType | str]"


@dataclass(frozen=True, slots=True)
class Format:
    """A format of reports. A string is written unchanged; rich lays out anything else."""

    show: Show
    suffix: str = ""  # of saved files; empty: the format is never saved
    printed: bool = True  # False: --format does not offer it
    single_document: bool = False  # one document of all reports, written at the end
    needs_all_rows: bool = False  # a sweep must keep all its rows for it, not only their summary

    def content(self, reports: Sequence["Report"], several: bool) -> bytes:
        """Return the content of a saved file."""
        return str(self.show(reports, several)).encode()


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot of the last report, which must be a sweep's. It needs matplotlib, an optional dependency."""

    suffix: str  # of saved files
    needs_all_rows: bool = False

    def content(self, reports: Sequence["Report"], _: bool) -> bytes:
        """Return the content of a saved file."""
        from bncheck.render.plots.figure import picture  # noqa: PLC0415 - matplotlib is slow and optional

        return picture(cast(Any, reports[-1]), self.suffix[1:])


def _table(reports: Sequence["Report"], _: bool) -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415 - slow import (30 ms), not needed to read the registry

    return Group(*reports)


def _json(reports: Sequence["Report"], several: bool) -> str:
    """Return the document of a report, or an array of documents."""
    import json  # noqa: PLC0415 - most reports are tables

    documents: list[Any] = [document for report in reports if (document := report.data()) is not None]
    content = documents if several else documents[0] if documents else None
    return escape_json(json.dumps(content, indent=2, allow_nan=False)) + "\n"


def _markdown(reports: Sequence["Report"], _: bool) -> str:
    return "".join(escape_user_text(f"{report.markdown()}\n") for report in reports)


def _latex(reports: Sequence["Report"], _: bool) -> str:
    return "".join(str(cast(Any, report).latex()) for report in reports)  # only offered by bncheck derive


def _junit(reports: Sequence["Report"], _: bool) -> str:
    from bncheck.render.ci_formats import junit  # noqa: PLC0415 - imports an XML library that few formats need

    return junit(reports)


def _github(reports: Sequence["Report"], _: bool) -> str:
    from bncheck.render.ci_formats import github  # noqa: PLC0415 - only needed in a GitHub workflow

    return github(reports)


def _html(reports: Sequence["Report"], _: bool) -> str:
    from bncheck.render.export import html  # noqa: PLC0415 - only needed to save a report

    return html(reports)


def _svg(reports: Sequence["Report"], _: bool) -> str:
    from bncheck.render.export import svg  # noqa: PLC0415 - only needed to save a report

    return svg(reports)


def _text(reports: Sequence["Report"], _: bool) -> str:
    from bncheck.render.export import text  # noqa: PLC0415 - only needed to save a report

    return text(reports)


# By the name that --format takes.
FORMATS: Mapping[str, Format] = {
    "table": Format(_table),
    "json": Format(_json, ".json", single_document=True, needs_all_rows=True),
    "markdown": Format(_markdown, ".md"),
    "junit": Format(_junit, ".xml", single_document=True, needs_all_rows=True),
    "github": Format(_github, needs_all_rows=True),
    "latex": Format(_latex, ".tex"),
    "html": Format(_html, ".html", printed=False),
    "svg": Format(_svg, ".svg", printed=False),
    "txt": Format(_text, ".txt", printed=False),
}

# The plots that --plot offers.
PICTURES = tuple(map(Picture, (".png", ".svg", ".pdf")))
