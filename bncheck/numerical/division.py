"""Division in which 0 / 0 is 0: two equal numbers differ by nothing."""

import numpy as np
import numpy.typing as npt

from bncheck.model.problem import FloatArray


def safe_divide(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> FloatArray:
    """Return numerator / denominator, where 0 / 0 is 0 and any other number over 0 is infinite.

    Parameters
    ----------
    numerator, denominator : array_like
        Broadcast against each other.

    Returns
    -------
    ndarray
        The quotient; NaN where either is NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = np.divide(numerator, denominator)
    result: FloatArray = np.where(np.equal(numerator, 0), 0.0, quotient)
    return result
