"""Which items of a catalog are the same picture, and which to keep. May import `catalog` and `index_builder`."""
