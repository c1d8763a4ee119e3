"""The network and its layers, the arrays of a problem, the options of a check and the records of its result."""
