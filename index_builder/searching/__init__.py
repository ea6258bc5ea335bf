"""The files of a version, opened and searched."""
