"""``python -m bncheck`` is the console script."""

from bncheck.cli.main import main

main(prog_name="bncheck")
