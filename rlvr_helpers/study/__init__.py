"""Experiments as data: comparisons, runs, tables, and what to run where."""
