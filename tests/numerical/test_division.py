import numpy as np

from bncheck.numerical.division import safe_divide


def test_zero_divided_by_zero_is_0_and_any_other_number_divided_by_zero_is_infinite() -> None:
    quotient = safe_divide([0.0, 2.0, -2.0, 6.0, 0.0], [0.0, 0.0, 0.0, 3.0, np.inf])
    np.testing.assert_array_equal(quotient, [0.0, np.inf, -np.inf, 2.0, 0.0])


def test_nan_divided_by_a_number_and_a_number_divided_by_nan_are_nan() -> None:
    assert np.isnan(safe_divide([np.nan, 1.0], [1.0, np.nan])).all()
