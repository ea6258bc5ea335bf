"""Vectors, hashes and thumbnails to duplicates: candidates, groups, whom to keep, what leaks, what to report.

May import `catalog` and `index_builder`. An algorithm here is a plain function over arrays and Arrow tables; FAISS is
imported late.
"""
