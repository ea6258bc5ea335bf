"""Which items of a catalog show the same picture, which of them to keep, and the report that says why.

May import `catalog` and `index_builder`.
"""
