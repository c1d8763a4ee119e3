"""The self-test: injected mistakes, false alarms on correct code, and sensitivity to errors of known size."""
