"""Workflow commands: GitHub shows each beside the line of code that it is about."""

import os
from collections.abc import Iterable
from pathlib import Path

from bncheck.render.encoding import escape_control_chars
from bncheck.render.report import ItemStatus, Report, ReportItem

# GitHub shows so many annotations of a kind and step.
MOST = 10


def github(reports: Iterable[Report]) -> str:
    """Return an annotation for each finding that is no pass, and a line for each report.

    What is amiss on several problems is annotated once, where it was first seen.

    Files are named from the repository's root, as GitHub asks: GITHUB_WORKSPACE, or the working directory.
    """
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    lines: list[str] = []
    for report in reports:
        amiss = [f for suite in report.suites() for f in suite.findings if f.outcome.is_failure]
        findings = list({(f.subject, f.name): f for f in reversed(amiss)}.values())[::-1]
        for level in ("error", "warning"):
            of_it = [f for f in findings if _level(f) == level]
            lines += [_annotation(finding, root) for finding in of_it[:MOST]]
            if len(of_it) > MOST:
                lines.append(f"and {len(of_it) - MOST:,} more, of which GitHub would show none")
        lines.append(report.headline.replace("\n", " "))
    return "".join(f"{escape_control_chars(line)}\n" for line in lines)


def _level(finding: ReportItem) -> str:
    return "warning" if finding.outcome is ItemStatus.INCONCLUSIVE else "error"


def _annotation(finding: ReportItem, root: Path) -> str:
    properties = {"title": f"{finding.subject}: {finding.name}"}
    if finding.source is not None:
        file = Path(finding.source.file)
        inside = file.relative_to(root) if file.is_relative_to(root) else file
        properties = {"file": inside.as_posix(), "line": str(finding.source.line), **properties}
    told = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    message = "\n".join(filter(None, (finding.message, finding.detail)))
    return f"::{_level(finding)} {told}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
