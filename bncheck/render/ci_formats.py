"""Results for CI services: JUnit XML in the dialect that pytest writes, and annotations of GitHub workflows."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from bncheck.render.encoding import escape_commands, escape_control_chars, escape_user_text
from bncheck.render.report import ItemStatus, Report, ReportItem, Suite

# The element for a status, and the attribute of a suite that counts it.
ELEMENTS = {
    ItemStatus.FAIL: ("failure", "failures"),
    ItemStatus.INCONCLUSIVE: ("failure", "failures"),
    ItemStatus.ERROR: ("error", "errors"),
    ItemStatus.SKIPPED: ("skipped", "skipped"),
}
# GitHub shows at most 10 annotations of each level per step.
MAX_ANNOTATIONS = 10


def junit(reports: Iterable[Report]) -> str:
    """Return an XML document with a test suite for each problem and a test case for each item."""
    root = ElementTree.Element("testsuites", name="bncheck")
    root.extend(_suite(suite) for report in reports for suite in report.suites())
    ElementTree.indent(root)
    # ASCII with character references is valid in any encoding of the stream.
    text = ElementTree.tostring(root, encoding="us-ascii").decode("ascii")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{escape_commands(text, "&#58;", "&#35;")}\n'


def _suite(suite: Suite) -> ElementTree.Element:
    counts = Counter(ELEMENTS[item.status][1] for item in suite.items if item.status in ELEMENTS)
    element = _element("testsuite", name=suite.name, tests=str(len(suite.items)))
    element.attrib.update({name: str(counts[name]) for name in ("failures", "errors", "skipped")})
    element.set("time", f"{suite.seconds:.3f}")
    if suite.reproduce:
        properties = ElementTree.SubElement(element, "properties")
        properties.append(_element("property", name="reproduce", value=suite.reproduce))
    element.extend(map(_case, suite.items))
    return element


def _case(item: ReportItem) -> ElementTree.Element:
    # CI services group test cases by the parts of a class name between dots: no suffix, no slashes.
    class_name = re.sub(r"[/\\]+", ".", re.sub(r"\.py(?=$|[:.])", "", item.subject)).strip(".")
    case = _element("testcase", classname=class_name, name=item.name)
    if item.status in ELEMENTS:
        source = f"{item.source.file}:{item.source.line}" if item.source else ""
        failure = _element(ELEMENTS[item.status][0], type=item.status.value, message=item.message)
        failure.text = escape_control_chars("\n".join(filter(None, (item.message, item.detail, source))))
        case.append(failure)
    return case


def _element(tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.Element(tag, {name: escape_control_chars(value) for name, value in attributes.items()})


def github(reports: Iterable[Report]) -> str:
    """Return an annotation for each failure and the headline of each report.

    A function that fails on several problems is annotated a single time, for the first of them. File names are
    relative to the root of the repository, as GitHub requires: GITHUB_WORKSPACE, or the working directory.
    """
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    lines: list[str] = []
    for report in reports:
        failures: dict[tuple[str, str], ReportItem] = {}
        for item in (item for suite in report.suites() for item in suite.items if item.status.is_failure):
            failures.setdefault((item.subject, item.name), item)
        for level in ("error", "warning"):
            annotations = [_annotation(item, root) for item in failures.values() if _level(item) == level]
            lines += annotations[:MAX_ANNOTATIONS]
            if len(annotations) > MAX_ANNOTATIONS:
                lines.append(f"and {len(annotations) - MAX_ANNOTATIONS:,} more that GitHub does not display")
        lines.append(escape_user_text(report.headline.replace("\n", " ")))
    return "".join(f"{line}\n" for line in lines)


def _level(item: ReportItem) -> str:
    return "warning" if item.status is ItemStatus.INCONCLUSIVE else "error"


def _annotation(item: ReportItem, root: Path) -> str:
    properties = {"title": f"{item.subject}: {item.name}"}
    if item.source is not None:
        file = Path(item.source.file)
        relative = file.relative_to(root) if file.is_relative_to(root) else file
        properties = {"file": relative.as_posix(), "line": str(item.source.line), **properties}
    fields = ",".join(
        f"{name}={_escape(value).replace(':', '%3A').replace(',', '%2C')}" for name, value in properties.items()
    )
    message = "\n".join(filter(None, (item.message, item.detail)))
    return f"::{_level(item)} {fields}::{_escape(message)}"


def _escape(text: str) -> str:
    """Return text as data of an annotation, which GitHub decodes."""
    return escape_control_chars(
        escape_commands(text, colon=":").replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    )
