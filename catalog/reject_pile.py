"""The rejects of one partition, any number of them, sorted to one file in bounded memory."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.id_slices import in_pieces
from catalog.rejects import SCHEMA, Reject, rejects_table
from catalog.sorted_files import in_order, read_sorted, write_sorted

_HELD = 16_384
_ROW_GROUP_ROWS = 32_768


class RejectPile:
    """Takes rejects in any order. What it holds goes to the local disk when it is too much.

    Args:
        scratch: a folder, which somebody else removes.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._held: list[Reject] = []
        self._spilled: list[Path] = []
        self._counts: Counter[str] = Counter()

    def add(self, reject: Reject) -> None:
        self._held.append(reject)
        self._counts[str(reject.reason)] += 1
        if len(self._held) >= _HELD:
            path = self._scratch / f"rejects-{len(self._spilled):06d}.arrow"
            write_sorted(path, [self._sorted()], SCHEMA)
            self._spilled.append(path)
            self._held = []

    def __len__(self) -> int:
        return self._counts.total()

    def by_reason(self) -> dict[str, int]:
        """Rejects of each reason, sorted by reason."""
        return dict(sorted(self._counts.items()))

    def write(self) -> tuple[Path, str]:
        """All of them as a Parquet file in the scratch folder, sorted, so that the same rejects are the same bytes; and
        its sha256."""
        path = self._scratch / "rejects.parquet"
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
            for table in in_pieces(self._tables(), _ROW_GROUP_ROWS):
                writer.write_table(table)
        with path.open("rb") as file:
            return path, hashlib.file_digest(file, "sha256").hexdigest()

    def _sorted(self) -> pa.Table:
        return in_order(rejects_table(self._held), _ties)

    def _tables(self) -> Iterator[pa.Table]:
        if not self._spilled:
            yield self._sorted()
            return
        if self._held:
            last = self._scratch / "rejects-last.arrow"
            write_sorted(last, [self._sorted()], SCHEMA)
            self._spilled.append(last)
            self._held = []
        yield from read_sorted(self._spilled, self._scratch, _ties)


def _ties(table: pa.Table) -> list[tuple[str, str, str, str]]:
    """What orders the rejects of one id."""
    columns = [table[name].to_pylist() for name in ("origin", "reason", "image_uri", "detail")]
    return [(origin, reason, uri or "", detail or "") for origin, reason, uri, detail in zip(*columns, strict=True)]
