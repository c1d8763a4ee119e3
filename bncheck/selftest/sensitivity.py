"""Inject errors of known size into correct gradients, and count those that a check detects."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from bncheck.checking.check import check
from bncheck.model import network
from bncheck.model.layers import Array
from bncheck.model.options import GRADIENTS
from bncheck.model.problem import FloatArray
from bncheck.model.verdict import Verdict
from bncheck.selftest.problems import plain_problem

# Injected errors, in multiples of the resolution that the check claims, and the entries that get them.
ERROR_SIZES = (0.1, 0.3, 1.0, 3.0, 10.0)
EVERY_ENTRY, ONE_COLUMN, ONE_ENTRY = ERROR_REGIONS = ("every entry", "one column", "one entry")
# An error of at least this many resolutions must be detected in every region.
MUST_DETECT_FROM = 10.0


class SensitivityRecord(NamedTuple):
    """The detected errors of one problem."""

    resolution: float  # median over the gradients, as claimed by the check without errors
    detected: Mapping[tuple[float, str], int]  # by size and region: gradients that fail, of len(GRADIENTS)


@dataclass(frozen=True, slots=True)
class SensitivityTrial:
    """Errors of one size and region, injected into correct gradients."""

    size: float  # in multiples of the claimed resolution
    region: str
    injected: int
    detected: int

    @classmethod
    def collect(cls, records: Sequence[SensitivityRecord]) -> "tuple[SensitivityTrial, ...]":
        """Add up the records of all problems."""
        kinds, injected = itertools.product(ERROR_SIZES, ERROR_REGIONS), len(GRADIENTS) * len(records)
        return tuple(cls(*kind, injected, sum(record.detected[kind] for record in records)) for kind in kinds)

    @property
    def is_missed(self) -> bool:
        """Whether an error that must be detected was not."""
        return self.size >= MUST_DETECT_FROM and self.detected < self.injected


def network_with_errors(errors: Mapping[str, FloatArray]) -> SimpleNamespace:
    """Return the network; errors are added to its correct gradients."""

    def backward(dout: Array, cache: network.Cache) -> dict[str, Array]:
        return {name: value + errors[name] for name, value in network.backward(dout, cache).items()}

    return SimpleNamespace(forward=network.forward, backward=backward)


def inject_errors(seed: int) -> SensitivityRecord:
    """Inject errors of every size and region into all gradients of one problem."""
    problem, rng = plain_problem(seed), np.random.default_rng([seed, 9])
    gradients = check(problem).gradients
    detected = {}
    for region in ERROR_REGIONS:
        smallest = {
            name: g.resolution * g.term_size * _region_mask(region, g.term_size, rng) for name, g in gradients.items()
        }
        for size in ERROR_SIZES:
            target = network_with_errors({name: size * error for name, error in smallest.items()})
            result = check(problem, target, edge_cases=False, explain=False)
            detected[size, region] = sum(g.verdict is Verdict.FAIL for g in result.gradients.values())
    return SensitivityRecord(float(np.median([g.resolution for g in gradients.values()])), detected)


def _region_mask(region: str, term_size: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return 1 in a random region of entries that have terms, and 0 elsewhere."""
    if region == EVERY_ENTRY:
        return np.ones(term_size.shape)
    entry = rng.choice(np.flatnonzero(term_size))
    mask: FloatArray = (np.arange(term_size.size) == entry).astype(float).reshape(term_size.shape)
    if region == ONE_COLUMN and term_size.ndim == 2:
        mask = np.broadcast_to(mask.max(axis=0), term_size.shape)
    return mask
