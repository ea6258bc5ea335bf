"""Which index for how many vectors, and what it will take."""
