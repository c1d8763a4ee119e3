"""Workflow commands: GitHub shows each beside the line of code that it is about."""

import os
from collections.abc import Iterable
from pathlib import Path

from bncheck.render.report import Finding, Outcome, Report

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
        amiss = [f for suite in report.suites() for f in suite.findings if f.outcome.counts]
        findings = list({(f.subject, f.name): f for f in reversed(amiss)}.values())[::-1]
        lines += [_annotation(finding, root) for finding in findings[:MOST]]
        if len(findings) > MOST:
            lines.append(f"and {len(findings) - MOST:,} more, of which GitHub would show none")
        lines.append(report.headline)
    return "".join(f"{line}\n" for line in lines)


def _annotation(finding: Finding, root: Path) -> str:
    properties = {"title": f"{finding.subject}: {finding.name}"}
    if finding.source is not None:
        file = Path(finding.source.file)
        inside = file.relative_to(root) if file.is_relative_to(root) else file
        properties = {"file": inside.as_posix(), "line": str(finding.source.line), **properties}
    told = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    level = "warning" if finding.outcome is Outcome.INCONCLUSIVE else "error"
    return f"::{level} {told}::{_data(chr(10).join(filter(None, (finding.message, finding.detail))))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
