"""JUnit's XML, in the form that pytest writes and CI services read."""

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from bncheck.render.report import Finding, Outcome, Report, Suite

# What XML 1.0 cannot hold, even escaped.
UNSPEAKABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
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
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _suite(suite: Suite) -> ElementTree.Element:
    counts = dict.fromkeys(("failures", "errors", "skipped"), 0)
    for finding in suite.findings:
        if finding.outcome in ELEMENTS:
            counts[ELEMENTS[finding.outcome][1]] += 1
    element = ElementTree.Element("testsuite", name=_spoken(suite.name), tests=str(len(suite.findings)))
    element.attrib.update({name: str(count) for name, count in counts.items()}, time=f"{suite.seconds:.3f}")
    if suite.reproduce:
        properties = ElementTree.SubElement(element, "properties")
        ElementTree.SubElement(properties, "property", name="reproduce", value=_spoken(suite.reproduce))
    element.extend(map(_case, suite.findings))
    return element


def _case(finding: Finding) -> ElementTree.Element:
    subject = re.sub(r"[/\\]+", ".", re.sub(r"\.py(?=$|[:.])", "", finding.subject)).strip(".")
    case = ElementTree.Element("testcase", classname=_spoken(subject), name=_spoken(finding.name))
    if finding.outcome in ELEMENTS:
        name, _ = ELEMENTS[finding.outcome]
        told = ElementTree.SubElement(case, name, type=finding.outcome.value, message=_spoken(finding.message))
        where = f"{finding.source.file}:{finding.source.line}" if finding.source else ""
        told.text = _spoken("\n".join(filter(None, (finding.message, finding.detail, where))))
    return case


def _spoken(text: str) -> str:
    return UNSPEAKABLE.sub(lambda match: repr(match[0])[1:-1], text)
