"""When the deltas of a partition are folded into one file again."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.snapshot import FileEntry

#: Rows in deltas, and rows that no longer count, as a share of a partition's live rows.
DEFAULT_THRESHOLD = 0.25
_MOST_FILES = 16


def is_due(files: Sequence[FileEntry], fresh: int, threshold: float = DEFAULT_THRESHOLD) -> bool:
    """Whether a partition should be rewritten as one file.

    Args:
        files: its files, as the run leaves them.
        fresh: rows of the file that the run is about to add.
        threshold: what share of the live rows may be loose.

    The largest file is the base; everything beside it, and every dead row, is loose. A reader pays for loose rows each
    time, a rewrite for live rows once.
    """
    if not files:
        return False
    base = max(files, key=lambda entry: entry.live_rows)
    dead = sum(entry.rows - entry.live_rows for entry in files)
    beside = sum(entry.live_rows for entry in files) - base.live_rows
    live = base.live_rows + beside + fresh
    return live > 0 and (beside + dead + fresh > threshold * live or len(files) + bool(fresh) > _MOST_FILES)
