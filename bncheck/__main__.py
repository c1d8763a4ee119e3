"""Run the command line: ``python -m bncheck``."""

from bncheck.cli.main import main

main(prog_name="bncheck")
