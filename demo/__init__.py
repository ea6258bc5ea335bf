"""The demo's own: a small drawn catalog, and one picture of what was found in it. May import `catalog` only."""
