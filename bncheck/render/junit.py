"""JUnit's XML, in the form that pytest writes and CI services read."""

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from bncheck.render.encoding import escape_control_chars
from bncheck.render.report import ItemStatus, Report, ReportItem, Suite

# How an outcome is called there, and which of a suite's counts it is in.
ELEMENTS = {
    ItemStatus.FAIL: ("failure", "failures"),
    ItemStatus.INCONCLUSIVE: ("failure", "failures"),
    ItemStatus.ERROR: ("error", "errors"),
    ItemStatus.SKIPPED: ("skipped", "skipped"),
}


def junit(reports: Iterable[Report]) -> str:
    """Return a test suite for each problem, and in it a test case for each gradient."""
    root = ElementTree.Element("testsuites", name="bncheck")
    root.extend(_suite(suite) for report in reports for suite in report.suites())
    ElementTree.indent(root)
    # With character references for all that is not ASCII: a stream may have another encoding than is declared.
    text = ElementTree.tostring(root, encoding="us-ascii").decode("ascii")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _suite(suite: Suite) -> ElementTree.Element:
    counts = dict.fromkeys(("failures", "errors", "skipped"), 0)
    for finding in suite.findings:
        if finding.outcome in ELEMENTS:
            counts[ELEMENTS[finding.outcome][1]] += 1
    element = ElementTree.Element("testsuite", name=escape_control_chars(suite.name), tests=str(len(suite.findings)))
    element.attrib.update({name: str(count) for name, count in counts.items()}, time=f"{suite.seconds:.3f}")
    if suite.reproduce:
        properties = ElementTree.SubElement(element, "properties")
        ElementTree.SubElement(properties, "property", name="reproduce", value=escape_control_chars(suite.reproduce))
    element.extend(map(_case, suite.findings))
    return element


def _case(finding: ReportItem) -> ElementTree.Element:
    subject = re.sub(r"[/\\]+", ".", re.sub(r"\.py(?=$|[:.])", "", finding.subject)).strip(".")
    case = ElementTree.Element(
        "testcase", classname=escape_control_chars(subject), name=escape_control_chars(finding.name)
    )
    if finding.outcome in ELEMENTS:
        name, _ = ELEMENTS[finding.outcome]
        told = ElementTree.SubElement(
            case, name, type=finding.outcome.value, message=escape_control_chars(finding.message)
        )
        where = f"{finding.source.file}:{finding.source.line}" if finding.source else ""
        told.text = escape_control_chars("\n".join(filter(None, (finding.message, finding.detail, where))))
    return case
