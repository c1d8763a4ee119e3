"""JUnit XML, in the dialect that pytest writes and CI services read."""

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from bncheck.render.encoding import escape_control_chars
from bncheck.render.report import ItemStatus, Report, ReportItem, Suite

# The element for a status, and the attribute of a suite that counts it.
ELEMENTS = {
    ItemStatus.FAIL: ("failure", "failures"),
    ItemStatus.INCONCLUSIVE: ("failure", "failures"),
    ItemStatus.ERROR: ("error", "errors"),
    ItemStatus.SKIPPED: ("skipped", "skipped"),
}


def junit(reports: Iterable[Report]) -> str:
    """Return an XML document with a test suite for each problem and a test case for each item."""
    root = ElementTree.Element("testsuites", name="bncheck")
    root.extend(_suite(suite) for report in reports for suite in report.suites())
    ElementTree.indent(root)
    # ASCII with character references is valid whatever the encoding of the stream.
    text = ElementTree.tostring(root, encoding="us-ascii").decode("ascii")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _suite(suite: Suite) -> ElementTree.Element:
    counts = dict.fromkeys(("failures", "errors", "skipped"), 0)
    for item in suite.items:
        if item.status in ELEMENTS:
            counts[ELEMENTS[item.status][1]] += 1
    element = _element("testsuite", name=suite.name, tests=str(len(suite.items)))
    element.attrib.update({name: str(count) for name, count in counts.items()}, time=f"{suite.seconds:.3f}")
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
