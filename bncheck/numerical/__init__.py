"""Numerical gradients and their error bounds: schemes, steps, the kink guard and the two engines."""
