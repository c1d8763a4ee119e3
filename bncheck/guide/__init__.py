"""The pages of ``bncheck guide``: one Markdown file per topic, next to this module."""

from dataclasses import dataclass
from importlib.resources import files

from bncheck.errors import unknown_name


@dataclass(frozen=True, slots=True)
class Topic:
    """One page."""

    name: str  # the name of the file, without its suffix
    text: str  # Markdown; the first line is the title, the first paragraph says what the page is about

    @property
    def title(self) -> str:
        """The heading of the page."""
        return self.text.partition("\n")[0].removeprefix("# ")

    @property
    def summary(self) -> str:
        """The first paragraph, on one line."""
        return " ".join(self.text.split("\n\n")[1].split())


def topic_names() -> list[str]:
    """Return the names of all topics, in alphabetical order."""
    pages = (page.name for page in files("bncheck.guide").iterdir())
    return sorted(name.removesuffix(".md") for name in pages if name.endswith(".md"))


def read_topic(name: str) -> Topic:
    """Return the page of a topic.

    Raises
    ------
    InvalidInput
        There is no such topic; the message suggests one.
    """
    names = topic_names()
    if name not in names:
        raise unknown_name("topic", name, names)
    return Topic(name, files("bncheck.guide").joinpath(f"{name}.md").read_text(encoding="utf-8"))
