"""Targets: the code under test, loaded, recognized by its interface, and called."""

# The implementations in bncheck itself, by the name that the command line accepts.
BUILT_IN = ("reference", "staged")
