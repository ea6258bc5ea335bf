"""Duplicates: which items of a catalog are the same picture, which of them to keep, and why."""
