"""The interface of every report: blocks for a person, data for a program, items for CI."""

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from bncheck.model.verdict import Verdict
from bncheck.render.encoding import escape_markdown
from bncheck.render.layout import INDENT, WIDTH, Indented, Page

if TYPE_CHECKING:  # imports numpy, which a report on the catalogue does not need
    from bncheck.model.source import Source


class ItemStatus(enum.Enum):
    """The status of a report item; the value is how JUnit names its type."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"  # could not run
    SKIPPED = "skipped"  # does not count

    @classmethod
    def from_verdict(cls, verdict: Verdict | None) -> "ItemStatus":
        """Return the status for a verdict; None means that the check could not run."""
        return cls.ERROR if verdict is None else cls(verdict.value)

    @property
    def is_failure(self) -> bool:
        """Whether a command with such an item exits with another code than 0."""
        return self not in (ItemStatus.PASS, ItemStatus.SKIPPED)


class ReportItem(NamedTuple):
    """One result, as CI services list them: a test case in JUnit, an annotation on GitHub."""

    subject: str  # usually the target and its function: "layers.py.batchnorm_backward"
    name: str  # "dx"
    status: ItemStatus
    message: str = ""  # one line
    detail: str = ""  # further lines
    source: "Source | None" = None  # of the function; None: unknown


class Suite(NamedTuple):
    """The items of one problem."""

    name: str
    items: tuple[ReportItem, ...]
    seconds: float = 0.0
    reproduce: str | None = None  # command that repeats the check; None if no command can


class Report(ABC):
    """The report of a command; each format uses the parts that it needs."""

    __slots__ = ()

    @property
    @abstractmethod
    def headline(self) -> str:
        """The report in one line."""

    @abstractmethod
    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return the parts of the report for a person, laid out for a page."""

    def data(self) -> Any:
        """Return the content of the JSON document; None if there is none."""
        return None

    def suites(self) -> Iterable[Suite]:
        """Return the items for CI; empty if nothing was judged."""
        return ()

    @property
    def passed(self) -> bool:
        """Whether no item is a failure."""
        return not any(item.status.is_failure for suite in self.suites() for item in suite.items)

    def markdown(self) -> str:
        """Return the report as Markdown."""
        from bncheck.render.export import markdown_blocks  # noqa: PLC0415 - slow import, most reports are tables

        page = Page(ascii_only=False, width=WIDTH)
        return f"## {escape_markdown(self.headline)}\n\n{markdown_blocks(self.blocks(page))}"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay out the blocks for the width and the encoding of a stream, each followed by an empty line."""
        page = Page(options.ascii_only, min(WIDTH, options.max_width - INDENT))
        for block in self.blocks(page):
            yield Indented(block, page.width)
            yield Text()
