"""One check, from the problem to the result: run, recognize, judge, edge cases, explanation."""
