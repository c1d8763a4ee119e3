"""The pages of the guide, and the list of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.markdown import Markdown

from bncheck.guide import Topic
from bncheck.render.encoding import to_ascii
from bncheck.render.layout import Page, two_columns
from bncheck.render.report import Report


@dataclass(frozen=True, slots=True)
class GuideIndex(Report):
    """The names and summaries of all topics."""

    topics: Sequence[Topic]

    @property
    def headline(self) -> str:
        """How to show a topic."""
        return "Topics of the guide. Show one: bncheck guide TOPIC"

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return one row per topic."""
        grid = two_columns()
        for topic in self.topics:
            grid.add_row(page.text(topic.name, "bold"), page.text(topic.summary))
        return page.text(self.headline), grid

    def markdown(self) -> str:
        """Return a list of the topics."""
        return "\n".join((f"## {self.headline}", "", *(f"- **{t.name}**: {t.summary}" for t in self.topics), ""))


@dataclass(frozen=True, slots=True)
class GuidePage(Report):
    """One topic in full."""

    topic: Topic

    @property
    def headline(self) -> str:
        """The title."""
        return self.topic.title

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return the page, laid out by rich."""
        return (Markdown(to_ascii(self.topic.text, ascii_only=page.ascii_only), hyperlinks=False),)

    def markdown(self) -> str:
        """Return the page as it is written."""
        return self.topic.text
