"""The notation of several values: lists (8,64,256), integer ranges (0..9) and decades (1e-1..1e-12, 1..0.1/3)."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

# Values per decade that a range is tried with when values are written: 1e-1..1e-12/3.
MAX_VALUES_PER_DECADE = 10


def decades(first: float, last: float, per_decade: int) -> list[float]:
    """Return values that are evenly spaced in the logarithm, from first up or down to last.

    Parameters
    ----------
    first, last : float
        The ends, both positive. The last value is ``last`` only if the spacing reaches it.
    per_decade : int
        The number of values per factor of ten.

    Returns
    -------
    list of float
        Rounded to four digits.
    """
    direction = 1 if last >= first else -1
    decade_count = abs(math.log10(last) - math.log10(first))  # the ratio of the ends may overflow
    count = math.floor(decade_count * per_decade + 1e-9)  # 1e-9: rounding of the logarithms
    roots = [10 ** (direction * i / per_decade / 2) for i in range(count + 1)]  # the square may overflow as well
    return [float(f"{first * root * root:.4g}") for root in roots]


def format_values(values: Sequence[Any]) -> str:
    """Write values as an option accepts them: ascending integers and decades as a range, others as a list."""
    if len(values) > 2 and all(isinstance(v, int) for v in values):
        if all(b - a == 1 for a, b in itertools.pairwise(values)):
            return f"{values[0]}..{values[-1]}"
    elif len(values) > 2 and all(isinstance(v, float) and v > 0 for v in values):
        for per_decade in range(1, MAX_VALUES_PER_DECADE + 1):
            if list(values) == decades(values[0], values[-1], per_decade):
                return f"{values[0]:g}..{values[-1]:g}" + (f"/{per_decade}" if per_decade > 1 else "")
    return ",".join(str(v).removesuffix(".0") for v in values)
