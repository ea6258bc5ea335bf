"""What became of the rows of a partition, noted slice by slice: small, whatever the partition's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from catalog.partition_rows import PartitionRows
from catalog.reject_pile import RejectPile
from catalog.snapshot import FileEntry

# What becomes of a stored row.
_GONE, _KEPT, _STALE = 0, 1, 2


class PartitionOutcome:
    """What became of the rows of a partition, slice by slice.

    Attributes:
        rejects: rows that did not become an embedding.
        rows: of the catalog.
        kept: rows whose stored embedding stays as it is.
        stale: those of these that may have another image, which could not be read.
        encoded, copied: rows of the new file: with a new vector, with the one they had.
        removed: stored items that have no row any more.
        fates: of each file that the partition had, uint8 [rows]: what becomes of its rows.
        gone: of each of these files, the ids that no longer count, in pieces.
    """

    def __init__(self, rejects: RejectPile, files: Sequence[FileEntry]) -> None:
        self.rejects = rejects
        self.rows = self.kept = self.stale = self.encoded = self.copied = self.removed = 0
        self.fates = [np.full(entry.rows, _GONE, np.uint8) for entry in files]
        self.gone: list[list[pa.Array]] = [[] for _ in files]

    def count(self, rows: int) -> None:
        """Counts rows of the catalog."""
        self.rows += rows

    def close_slice(self, rows: PartitionRows, kept: Sequence[int], stale: Sequence[int]) -> None:
        """Notes what became of the stored items of a slice, when all that is new in it was written."""
        for numbers, fate in ((kept, _KEPT), (stale, _STALE)):
            for item in map(rows.stored, numbers):
                assert item is not None
                self.fates[item.file][item.row] = fate
        self.kept += len(kept)
        self.stale += len(stale)
        self.removed += rows.removed()
        for file, item_ids in rows.superseded(kept).items():
            self.gone[file].append(pa.array(item_ids, pa.string()))

    def staying(self, rows: PartitionRows) -> tuple[list[int], list[int]]:
        """The rows of a slice, any slice, whose stored row is kept and says what they say, and those where it is
        stale."""
        fates = {
            row: self.fates[item.file][item.row] for row in range(len(rows)) if (item := rows.stored(row)) is not None
        }
        kept, stale = ([row for row, each in fates.items() if each == fate] for fate in (_KEPT, _STALE))
        return kept, stale

    def files(self, before: Sequence[FileEntry]) -> list[FileEntry]:
        """The files that the partition had and still has rows in, with the ids that no longer count."""
        files = []
        for entry, gone in zip(before, self.gone, strict=True):
            if entry.live_rows > sum(map(len, gone)):
                ids = {*entry.removed, *(item_id for piece in gone for item_id in piece.to_pylist())}
                files.append(replace(entry, removed=tuple(sorted(ids))) if gone else entry)
        return files
