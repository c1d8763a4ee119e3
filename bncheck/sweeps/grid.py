"""The settings of a sweep: a grid of axes, and the point of each check."""

import hashlib
import itertools
import json
import math
import reprlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any

from bncheck.errors import InvalidInput, unknown_name
from bncheck.model.options import PROBLEM_DEFAULTS, PROBLEM_SETTINGS, CheckOptions
from bncheck.model.problem import Problem, is_finite_number, random_problem, require_settings
from bncheck.numerical.schemes import get_scheme

# Largest number of points that are tried to find one whose problem can be drawn.
MAX_FIRST_POINTS = 64


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """The settings of one check in a sweep; each field is an axis."""

    target: str = "reference"
    N: int = 64
    D: int = 100
    H: int = 50
    bn_eps: float = 1e-5
    x_mean: float = 0.0
    x_std: float = 1.0
    seed: int = 0
    scheme: str = "central"
    step: float | str = "auto"

    def draw(self) -> Problem:
        """Draw the problem of the check.

        Raises
        ------
        InvalidInput
            No problem has these settings.
        """
        return random_problem(**{name: getattr(self, name) for name in PROBLEM_SETTINGS})

    @property
    def key(self) -> int:
        """A 64-bit hash of the settings, which takes less memory than the point."""
        return int.from_bytes(hashlib.blake2b(repr(self).encode(), digest_size=8).digest(), "big")

    @property
    def problem_key(self) -> int:
        """The key of the target and the problem, equal for every scheme and step."""
        return replace(self, scheme="", step="").key


AXES = tuple(field.name for field in fields(SweepPoint))


@dataclass(frozen=True, slots=True)
class Grid:
    """The points of a sweep: every combination of the values of its axes.

    Raises
    ------
    InvalidInput
        An axis is unknown or has no values, or a value is invalid for every check.
    """

    axes: Mapping[str, Sequence[Any]]  # values by axis; a missing axis has the default value of ``SweepPoint``
    options: CheckOptions  # shared by all checks, except scheme and step, which are axes
    limits: Mapping[str, Any] = field(default_factory=dict)  # call_timeout, timeout and memory, as in ``check``

    def __post_init__(self) -> None:
        """Validate the axes."""
        for axis, values in self.axes.items():
            if axis not in AXES:
                raise unknown_name("axis", axis, AXES)
            if not values:
                raise InvalidInput(f"{axis} is empty; expected at least one value")
            for value in values:
                require_axis_value(axis, value)

    def __len__(self) -> int:
        """Return the number of points."""
        return math.prod(len(dict.fromkeys(values)) for values in self.axes.values())

    def points(self) -> Iterator[SweepPoint]:
        """Yield the points, with the last axis varying fastest; a repeated value counts once."""
        for values in itertools.product(*(dict.fromkeys(values) for values in self.axes.values())):
            yield SweepPoint(**dict(zip(self.axes, values, strict=True)))

    @property
    def first_point(self) -> SweepPoint:
        """The first point whose problem can be drawn, or else the first point."""
        for point in itertools.islice(self.points(), MAX_FIRST_POINTS):
            with suppress(InvalidInput):
                point.draw()
                return point
        return next(self.points())

    @property
    def sweep_id(self) -> str:
        """A hash of the axes and options: a row file belongs to the sweep with the same hash."""
        axes = {axis: list(self.axes.get(axis, [getattr(SweepPoint(), axis)])) for axis in AXES}
        options = {name: getattr(self.options, name) for name in ("engine", "sample", "only", "rtol", "atol")}
        # These are equal in all sweeps; bncheck 0.1 hashed them as well, and its files can be resumed.
        options |= {"scheme": "central", "step": "auto", "audit": 64}
        return hashlib.blake2b(json.dumps([axes, options], sort_keys=True).encode(), digest_size=6).hexdigest()


def require_axis_value(axis: str, value: Any) -> None:
    """Reject a value that is invalid for every check; one that is invalid for some checks makes failed rows.

    Raises
    ------
    InvalidInput
        The value has another type, or is out of its range.
    """
    if not isinstance(value, Hashable):
        raise InvalidInput(f"{axis} must be a single value, got {value!r:.100}")
    _require_hashable_value(axis, value)


@lru_cache(typed=True)  # the rows of a file repeat the values of each axis
def _require_hashable_value(axis: str, value: Any) -> None:
    if axis == "target":
        if not isinstance(value, str):
            raise InvalidInput(f"target must be the name of a file or module in a sweep, got {value!r:.100}")
    elif axis == "scheme":
        get_scheme(value if isinstance(value, str) else reprlib.repr(value))
    elif axis == "step":
        is_comparable = isinstance(value, str | float) or is_finite_number(value)
        CheckOptions(step=value if is_comparable else reprlib.repr(value))
    else:
        require_settings(**{"N": 2, "D": 1, "H": 1, "seed": 0, **PROBLEM_DEFAULTS, axis: value})
