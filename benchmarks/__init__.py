"""Measurements, one file a benchmark: each against a baseline in the same run, printed as JSON with ratios."""
