"""What every command's report can do: blocks for a person, data for a program, findings for CI."""

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, NamedTuple

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

from bncheck.model.results import Source, Verdict
from bncheck.render.layout import WIDTH, Page


class ItemStatus(enum.Enum):
    """How a finding ended; the value is the word for it."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"  # it gave no answer
    SKIPPED = "skipped"  # it counts for nothing

    @classmethod
    def of(cls, verdict: Verdict | None) -> "ItemStatus":
        """Return the outcome of a verdict; of none, that nothing was judged."""
        return cls.ERROR if verdict is None else cls(verdict.value)

    @property
    def is_failure(self) -> bool:
        """Whether a command that found it does not exit 0."""
        return self not in (ItemStatus.PASS, ItemStatus.SKIPPED)


class ReportItem(NamedTuple):
    """One thing that was judged."""

    subject: str  # the function, or whatever else it is about
    name: str  # "dx"
    outcome: ItemStatus
    message: str = ""  # one line
    detail: str = ""  # more of them
    source: Source | None = None  # where that function is written


class Suite(NamedTuple):
    """The findings on one problem."""

    name: str
    findings: tuple[ReportItem, ...]
    seconds: float = 0.0
    reproduce: str | None = None  # the command that makes them again


class Report(ABC):
    """What a command shows; a format takes from it what it needs."""

    __slots__ = ()

    @property
    @abstractmethod
    def headline(self) -> str:
        """All of it in one line."""

    @abstractmethod
    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return its parts as a person reads them, laid out for a page."""

    def data(self) -> Any:
        """Return the content of its JSON document; None if it has none."""
        return None

    def suites(self) -> Iterable[Suite]:
        """Return what was judged; nothing where nothing was."""
        return ()

    @property
    def passed(self) -> bool:
        """Whether nothing that was judged is amiss."""
        return not any(finding.outcome.is_failure for suite in self.suites() for finding in suite.findings)

    def markdown(self) -> str:
        """Return it for notes and summaries."""
        from bncheck.render.markdown import from_blocks  # noqa: PLC0415 - most reports are only printed

        return (
            f"## {' '.join(self.headline.split())}\n\n{from_blocks(self.blocks(Page(ascii_only=False, width=WIDTH)))}"
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the blocks out for a stream's width and encoding."""
        page = Page.of(options)
        yield from page.laid_out(self.blocks(page))
