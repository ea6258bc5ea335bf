"""Consuming: a published version onto this machine, verified, and kept up to date while it is served.

Not for: what a search is.
"""
