"""The command line: one module per command, options, output, progress, signals and exit codes."""
