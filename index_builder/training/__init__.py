"""A sample of the vectors to a codebook, last night's or a new one."""
