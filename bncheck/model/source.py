"""Where a function of the code under test is."""

from typing import NamedTuple


class Source(NamedTuple):
    """The place of a function in the code under test."""

    file: str  # absolute path
    line: int  # of its def, counted from 1
