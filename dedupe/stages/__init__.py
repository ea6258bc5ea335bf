"""The stages of a dedupe job, in the order of the work. Each does one unit, and stores what it found in the work
folder."""
