"""The known mistakes: one Markdown file for each, with its code, name, formulas and text."""

from bncheck.mistakes.catalogue import HEADINGS, NO_MISTAKE, Mistake, all_mistakes, mistake_named

__all__ = ["HEADINGS", "NO_MISTAKE", "Mistake", "all_mistakes", "mistake_named"]
