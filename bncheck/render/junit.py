"""JUnit's XML, in the form that pytest writes and CI services read."""

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from bncheck.render.report import Finding, Outcome, Report, Suite
from bncheck.render.encoding import speakable

# How an outcome is called there, and which of a suite's counts it is in.
ELEMENTS = {
    Outcome.FAIL: ("failure", "failures"),
    Outcome.INCONCLUSIVE: ("failure", "failures"),
    Outcome.ERROR: ("error", "errors"),
    Outcome.SKIPPED: ("skipped", "skipped"),
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
    element = ElementTree.Element("testsuite", name=speakable(suite.name), tests=str(len(suite.findings)))
    element.attrib.update({name: str(count) for name, count in counts.items()}, time=f"{suite.seconds:.3f}")
    if suite.reproduce:
        properties = ElementTree.SubElement(element, "properties")
        ElementTree.SubElement(properties, "property", name="reproduce", value=speakable(suite.reproduce))
    element.extend(map(_case, suite.findings))
    return element


def _case(finding: Finding) -> ElementTree.Element:
    subject = re.sub(r"[/\\]+", ".", re.sub(r"\.py(?=$|[:.])", "", finding.subject)).strip(".")
    case = ElementTree.Element("testcase", classname=speakable(subject), name=speakable(finding.name))
    if finding.outcome in ELEMENTS:
        name, _ = ELEMENTS[finding.outcome]
        told = ElementTree.SubElement(case, name, type=finding.outcome.value, message=speakable(finding.message))
        where = f"{finding.source.file}:{finding.source.line}" if finding.source else ""
        told.text = speakable("\n".join(filter(None, (finding.message, finding.detail, where))))
    return case
