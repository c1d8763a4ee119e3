"""The command line: the only place that prints or exits."""

from bncheck.cli.door import main

__all__ = ["main"]
