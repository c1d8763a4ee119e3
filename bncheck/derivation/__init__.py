"""The derivation of the gradients: its equations, and their comparison with finite differences."""

from bncheck.derivation.checking import Derivation, derive

__all__ = ["Derivation", "derive"]
