"""Division in which 0 / 0 is 0, because two equal numbers differ by 0."""

import numpy as np
import numpy.typing as npt

from bncheck.model.problem import FloatArray


def safe_divide(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> FloatArray:
    """Divide, with 0 / 0 = 0; any other number divided by 0 is infinite.

    Parameters
    ----------
    numerator, denominator : array_like
        Broadcast against each other.

    Returns
    -------
    ndarray
        The quotient; NaN where either operand is NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = np.divide(numerator, denominator)
    return np.where(np.equal(numerator, 0), 0.0, quotient)
