"""Where work runs: child processes, a pool of worker processes, Dask."""
