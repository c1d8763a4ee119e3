"""Many checks: axes, rows, the row file, and what the rows add up to."""
