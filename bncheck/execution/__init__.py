"""Where work runs: a child process, a pool of processes on this machine, or a Dask cluster."""
