"""One partition of imported rows to a file, rejects and counts; what is there already stays as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import storage
from catalog.embedding_file import EmbeddingFileWriter, read_file, schema, vector_array, vectors_of
from catalog.metadata import comparable
from catalog.reject_pile import RejectPile
from catalog.rejects import Reason, Reject
from catalog.run import PartitionResult, Run
from catalog.snapshot import Counts, FileEntry, Snapshot
from catalog.vector_rows import origin_of

_ROWS_AT_ONCE = 4_096


@dataclass(frozen=True)
class ImportSettings:
    """What a partition must know of a run.

    Attributes:
        store: URL of the embedding store.
        run: the run.
        base: the snapshot that the run builds on; None for the first of its fingerprint.
        fingerprint: of the vectors.
        dimension: of them.
        vector_type: of the store.
        metadata: types of the columns carried through.
        labels: what each input file is called.
    """

    store: str
    run: Run
    base: Snapshot | None
    fingerprint: str
    dimension: int
    vector_type: str
    metadata: pa.Schema
    labels: list[str]


class _Rows:
    """The rows of a partition, as the spill has them: the vectors stay where they lie."""

    def __init__(self, batches: Sequence[pa.RecordBatch], settings: ImportSettings) -> None:
        self._settings = settings
        self._dtype = np.float16 if settings.vector_type == "float16" else np.float32
        self._pieces = [vectors_of(batch.column("embedding"), settings.dimension) for batch in batches]
        self._starts = np.cumsum([0, *(len(piece) for piece in self._pieces)])
        self.table = pa.Table.from_batches([batch.drop_columns(["embedding"]) for batch in batches]).combine_chunks()
        self.ids: list[str] = self.table["item_id"].to_pylist()
        self.reasons: list[str | None] = self.table["reason"].to_pylist()

    def origin(self, row: int) -> str:
        """Where a row is from."""
        file, number = self.table["file"][row].as_py(), self.table["row"][row].as_py()
        return origin_of(self._settings.labels, file, number)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """[n, d] of rows, as they are stored."""
        found = np.empty((len(rows), self._settings.dimension), self._dtype)
        pieces = np.searchsorted(self._starts, rows, side="right") - 1
        for piece in np.unique(pieces):
            here = pieces == piece
            found[here] = self._pieces[piece][rows[here] - self._starts[piece]]
        return found

    def content(self, row: int) -> tuple[str, str, bytes, str, int]:
        """What orders the rows of one id: all that is stored of them, and of equal rows their origin."""
        place = self.table.slice(row, 1)
        metadata = comparable(place["metadata"] if "metadata" in place.column_names else None, 1)
        vector = self.vectors(np.array([row])).tobytes()
        label = self._settings.labels[place["file"][0].as_py()]
        return str(place["product_id"][0]), str(metadata), vector, label, place["row"][0].as_py()


def import_partition(partition: int, batches: Sequence[pa.RecordBatch], settings: ImportSettings) -> PartitionResult:
    """Sorts the rows of a partition by item id and writes them as one file, unless the base has the same rows.

    Args:
        partition: its number.
        batches: its rows, of `catalog.vector_rows.vector_row_schema`.
        settings: of the run.
    """
    before = settings.base.files_of(partition) if settings.base else []
    rejects_before = settings.base.rejects_of(partition) if settings.base else None
    rejects: list[Reject] = []
    files: list[FileEntry] = []
    counts = Counts(0, 0, 0, 0, removed=sum(entry.live_rows for entry in before))
    if batches:
        rows = _Rows(batches, settings)
        good, rejects = _sorted_out(rows)
        files, counts = _write(partition, rows, good, before, settings)
    with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as scratch:
        pile = RejectPile(Path(scratch))
        for reject in rejects:
            pile.add(reject)
        entry, rejects_changed = settings.run.store_rejects(partition, pile, rejects_before)
    counts += Counts(len(pile), 0, 0, len(pile), pile.by_reason())
    return PartitionResult(partition, tuple(files), entry, counts, files != list(before) or rejects_changed)


def _sorted_out(rows: _Rows) -> tuple[np.ndarray, list[Reject]]:
    """The rows that are stored, int64 in order of their ids, each id once; and the others, with reasons.

    Of several usable rows with one id the one whose content sorts first is kept, whatever the order of the input.
    """
    details = rows.table["detail"].to_pylist()
    rejects = [
        Reject(rows.ids[row], rows.origin(row), reason, detail=details[row])
        for row, reason in enumerate(rows.reasons)
        if reason is not None
    ]
    order = pc.sort_indices(rows.table["item_id"]).to_pylist()
    order = [row for row in order if rows.reasons[row] is None]
    kept: list[int] = []
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and rows.ids[order[end]] == rows.ids[order[start]]:
            end += 1
        same = order[start:end]
        if len(same) > 1:
            first = min(same, key=rows.content)
            detail = f"the id is also in {rows.origin(first)}, which is kept"
            rejects += [
                Reject(rows.ids[row], rows.origin(row), Reason.DUPLICATE_ITEM_ID, detail=detail)
                for row in same
                if row != first
            ]
            same = [first]
        kept += same
        start = end
    return np.array(kept, np.int64), rejects


def _write(
    partition: int, rows: _Rows, good: np.ndarray, before: Sequence[FileEntry], settings: ImportSettings
) -> tuple[list[FileEntry], Counts]:
    """The partition's files, which are those of before where these hold the same; and the counts of the rows that are
    stored."""
    file_schema = schema(settings.dimension, settings.vector_type, settings.metadata, pictures=False)
    with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as folder:
        writer = EmbeddingFileWriter(Path(folder) / "rows.parquet", file_schema, settings.fingerprint)
        for table in _tables(rows, good, settings):
            writer.append(table)
        file = writer.name(f"files/{partition:05d}")
        if [(entry.sha256, entry.removed) for entry in before] == [(file.sha256, ())]:
            return list(before), Counts(len(good), 0, len(good), 0)
        same, removed = _compared(rows, good, before, settings)
        counts = Counts(len(good), len(good) - same, same, 0, removed=removed)
        if same == len(good) == sum(entry.live_rows for entry in before):
            return list(before), counts  # Other bytes for the same rows: another library wrote them.
        if not len(good):
            return [], counts
        writer.put(settings.store, file)
    return [FileEntry(partition, file.path, file.sha256, file.bytes, file.rows)], counts


def _tables(rows: _Rows, good: np.ndarray, settings: ImportSettings) -> Iterator[pa.Table]:
    names = [name for name in ("item_id", "product_id", "metadata") if name in rows.table.column_names]
    for start in range(0, len(good), _ROWS_AT_ONCE):
        some = good[start : start + _ROWS_AT_ONCE]
        said = rows.table.select(names).take(pa.array(some))
        yield said.append_column("embedding", vector_array(rows.vectors(some), settings.vector_type))


def _compared(rows: _Rows, good: np.ndarray, before: Sequence[FileEntry], settings: ImportSettings) -> tuple[int, int]:
    """How many of the rows are stored already, in every column; and how many stored ids no row has any more."""
    same, removed, named = 0, 0, set(rows.ids)
    place = {rows.ids[row]: row for row in good.tolist()}
    for entry in before:
        table, gone = read_file(storage.join(settings.store, entry.path)), set(entry.removed)
        ids = table["item_id"].to_pylist()
        removed += sum(name not in named and name not in gone for name in ids)
        pairs = [(there, place[name]) for there, name in enumerate(ids) if name in place and name not in gone]
        for start in range(0, len(pairs), _ROWS_AT_ONCE):
            some = np.array(pairs[start : start + _ROWS_AT_ONCE])
            stored = table.take(pa.array(some[:, 0]))
            fresh = rows.table.take(pa.array(some[:, 1]))
            told = [one == other for one, other in zip(_said(stored), _said(fresh), strict=True)]
            vectors = vectors_of(stored["embedding"], settings.dimension)
            same += int((np.array(told) & (vectors == rows.vectors(some[:, 1])).all(axis=1)).sum())
    return same, removed


def _said(table: pa.Table) -> list[tuple]:
    """What each row says beside its vector, to be compared."""
    metadata = comparable(table["metadata"] if "metadata" in table.column_names else None, len(table))
    return list(zip(table["product_id"].to_pylist(), metadata, strict=True))
