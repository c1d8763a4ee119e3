"""The network and its layers, a problem's arrays, the options of a check, and the records of its result."""
