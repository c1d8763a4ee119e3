"""The version of bncheck and the directory that it is installed in."""

from pathlib import Path

__version__ = "0.2.0"

PACKAGE_DIR = Path(__file__).parent.parent
