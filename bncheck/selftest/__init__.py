"""Tests of bncheck itself: injected mistakes, false alarms, and errors of known size."""
