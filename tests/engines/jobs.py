"""What a job leaves, as readers see it: what has to be the same on every engine."""

from __future__ import annotations

from pathlib import Path

from index_builder.evaluation.evaluation_files import TIMED_FILES
from tests.conftest import files_below, snapshots_of

# With a clock in them.
_TIMED = ("manifest.json", *TIMED_FILES)


def embedded(store: Path) -> tuple[dict[str, dict], dict[str, bytes], dict[str, bytes]]:
    """The snapshots without the seconds of their cost, the embedding files, the rejects."""
    return snapshots_of(store), files_below(store / "files"), files_below(store / "rejects")


def published(artifacts: Path) -> dict[str, bytes]:
    """Every file of every version but those with a clock in them."""
    files = files_below(artifacts / "shop" / "versions")
    return {name: data for name, data in files.items() if not name.endswith(_TIMED)}
