"""``python -m bncheck`` is the console script."""

from bncheck.cli import main

main(prog_name="bncheck")
