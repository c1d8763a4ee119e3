"""Plots of a sweep, drawn with matplotlib."""
