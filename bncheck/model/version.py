"""The version of bncheck and the directory that it is installed in."""

import os

__version__ = "0.2.0"

PACKAGE_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
