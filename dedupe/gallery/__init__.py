"""The pages of a dedupe report: static files that a browser opens from a disk, without a server."""
