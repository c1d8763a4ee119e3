"""Many checks: the grid of settings, one row per check, the file of the rows, and their aggregation."""
