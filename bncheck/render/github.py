"""GitHub workflow commands: annotations that GitHub shows next to the line of code."""

import os
from collections.abc import Iterable
from pathlib import Path

from bncheck.render.encoding import escape_control_chars
from bncheck.render.report import ItemStatus, Report, ReportItem

# GitHub shows at most 10 annotations of each level per step.
MAX_ANNOTATIONS = 10


def github(reports: Iterable[Report]) -> str:
    """Return an annotation for each failure and the headline of each report.

    A function that fails on several problems is annotated a single time, for the first of them. File names are
    relative to the root of the repository, as GitHub requires: GITHUB_WORKSPACE, or the working directory.
    """
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    lines: list[str] = []
    for report in reports:
        for level in ("error", "warning"):
            annotations = [_annotation(item, root) for item in _failures(report) if _level(item) == level]
            lines += annotations[:MAX_ANNOTATIONS]
            if len(annotations) > MAX_ANNOTATIONS:
                lines.append(f"and {len(annotations) - MAX_ANNOTATIONS:,} more that GitHub does not display")
        lines.append(report.headline.replace("\n", " "))
    return "".join(f"{escape_control_chars(line)}\n" for line in lines)


def _failures(report: Report) -> list[ReportItem]:
    """Return the first failure of each subject and name."""
    failures = [item for suite in report.suites() for item in suite.items if item.status.is_failure]
    return list({(item.subject, item.name): item for item in reversed(failures)}.values())[::-1]


def _level(item: ReportItem) -> str:
    return "warning" if item.status is ItemStatus.INCONCLUSIVE else "error"


def _annotation(item: ReportItem, root: Path) -> str:
    properties = {"title": f"{item.subject}: {item.name}"}
    if item.source is not None:
        file = Path(item.source.file)
        relative = file.relative_to(root) if file.is_relative_to(root) else file
        properties = {"file": relative.as_posix(), "line": str(item.source.line), **properties}
    fields = ",".join(f"{name}={_escape_property(value)}" for name, value in properties.items())
    message = "\n".join(filter(None, (item.message, item.detail)))
    return f"::{_level(item)} {fields}::{_escape_message(message)}"


def _escape_message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_message(text).replace(":", "%3A").replace(",", "%2C")
