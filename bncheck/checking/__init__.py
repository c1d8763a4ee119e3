"""One check, from the problem to the result: call the target, recognize it, judge it, try edge cases, explain."""
