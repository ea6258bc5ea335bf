"""How well an index finds, at which cost, and how fast."""
