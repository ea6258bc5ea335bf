"""One partition from rows to a commit: what is new is read, decoded, encoded and written; the rest is kept.

This is the body of the fused DoFn, callable without Beam, by several threads at once. Pixels never leave it.
"""

from __future__ import annotations

import heapq
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from catalog import compaction, storage
from catalog.embedding_file import EmbeddingFileWriter, schema
from catalog.errors import CatalogIndexerError
from catalog.partition_rows import Changes, PartitionDiff, PartitionRows, clean, compare, stored_items
from catalog.rejects import LASTING, TRANSIENT, Reason, Reject, count_by_reason, read_lasting
from catalog.rows import row_schema
from catalog.run import PartitionResult, Run
from catalog.snapshot import Counts, FileEntry, Snapshot
from encoders.decode import DecodeLimits
from encoders.image_encoder import ImageEncoder
from encoders.image_loader import ImageRequest, LoadedImage, LoadFailure, SameContent
from encoders.meter import Meter
from pipelines.partition_tables import PartitionTables

_STAT_THREADS = 32
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class EncodeSettings:
    """What a worker must know of a run, small enough to travel with the job.

    Attributes:
        store: URL of the embedding store.
        run_id: of the run.
        base: the snapshot that the run builds on; None for the first of an encoder.
        encoder_spec: the `--encoder` text.
        engine: what runs it, see `encoders.registry`.
        fingerprint: what the launcher found that text to be; a worker that finds another stops.
        vector_type: of the stored vectors.
        metadata: Arrow schema of the metadata, serialised.
        limits: of the decoder.
        changes: what tells that an image changed.
        compact_at: see `catalog.compaction`.
        threads: that decode and encode in a process; None for two a core.
    """

    store: str
    run_id: str
    base: int | None
    encoder_spec: str
    engine: str
    fingerprint: str
    vector_type: str
    metadata: bytes
    limits: DecodeLimits
    changes: Changes = Changes.STORE
    compact_at: float = compaction.DEFAULT_THRESHOLD
    threads: int | None = None

    @property
    def metadata_schema(self) -> pa.Schema:
        return pa.ipc.read_schema(pa.BufferReader(self.metadata))


@dataclass
class _Outcome:
    """What became of the rows of a partition.

    Attributes:
        rejects: rows that did not become an embedding.
        kept: rows whose stored embedding stays as it is.
        stale: those of these that may have another image, which could not be read.
        encoded, copied: rows of the new file: with a new vector, with the one they had.
    """

    rejects: list[Reject]
    kept: list[int]
    stale: list[int] = field(default_factory=list)
    encoded: int = 0
    copied: int = 0


class PartitionEncoder:
    """Encodes partitions of one run."""

    def __init__(self, settings: EncodeSettings, encoder: ImageEncoder, base: Snapshot | None) -> None:
        self._settings = settings
        self._encoder = encoder
        self._base = base
        self._stopped = threading.Event()
        self._run = Run(settings.store, settings.run_id)
        self._metadata = settings.metadata_schema
        self._file_schema = schema(encoder.info.dimension, settings.vector_type, self._metadata)

    def stop(self) -> None:
        """Makes the partitions that are under way end soon, without a commit: the job fails anyway."""
        self._stopped.set()

    def encode(self, partition: int, batches: Sequence[pa.RecordBatch]) -> PartitionResult:
        """Does what the partition lacks and commits it; a partition committed by an earlier try is only read."""
        if committed := self._run.read_commit(partition):
            return committed
        meter = Meter()
        cleaned = clean(batches, row_schema(self._metadata))
        before = self._base.files_of(partition) if self._base else []
        rows = PartitionRows(cleaned.rows, stored_items(self._settings.store, before), self._lasting_rejects(partition))
        diff = compare(rows, self._settings.changes, _versions_of)
        again = [_rejected_again(rows, row) for row in diff.rejected]
        outcome = _Outcome([*cleaned.rejects, *again], list(diff.keep))
        files = self._write(partition, before, rows, diff, outcome, meter)
        counts = Counts(
            rows=sum(batch.num_rows for batch in batches),
            embedded=outcome.encoded,
            reused=len(outcome.kept) + outcome.copied,
            rejected=len(outcome.rejects),
            rejects_by_reason=count_by_reason(outcome.rejects),
            removed=rows.removed(),
            stale=len(outcome.stale),
        )
        rejected = self._base.rejects_of(partition) if self._base else None
        entry, rejects_changed = self._run.store_rejects(partition, outcome.rejects, rejected)
        changed = files != before or rejects_changed
        result = PartitionResult(partition, tuple(files), entry, counts, changed, meter.totals())
        # A partition in which nothing happened leaves no trace: checking it again is cheaper than a commit.
        return self._run.commit(result) if changed else result

    def _write(
        self,
        partition: int,
        before: Sequence[FileEntry],
        rows: PartitionRows,
        diff: PartitionDiff,
        outcome: _Outcome,
        meter: Meter,
    ) -> list[FileEntry]:
        """Writes what is new as one file, or all as one file when compaction is due; returns the partition's files."""
        store = self._settings.store
        tables = PartitionTables(store, before, rows, self._file_schema, self._settings.vector_type)
        with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as folder:
            writer = self._writer(Path(folder) / "delta.parquet")
            fresh = heapq.merge(
                ((row, None) for row in diff.update),
                self._read(rows, diff.read, outcome, meter),
                key=lambda pair: pair[0],
            )
            while chunk := list(islice(fresh, _ROWS_AT_ONCE)):
                outcome.copied += sum(not isinstance(what, LoadedImage) for _, what in chunk)
                outcome.encoded += sum(isinstance(what, LoadedImage) for _, what in chunk)
                writer.append(tables.merged(chunk))
            gone = rows.superseded(outcome.kept)
            files = [_without(entry, gone.get(number, [])) for number, entry in enumerate(before)]
            files = [entry for entry in files if entry.live_rows]
            changed = writer.rows or files != list(before)
            if changed and compaction.is_due(files, writer.rows, self._settings.compact_at):
                folded = self._writer(Path(folder) / "folded.parquet")
                as_said = sorted(set(outcome.kept) - set(outcome.stale))
                for table in tables.fold(as_said, sorted(outcome.stale), writer.finish()):
                    folded.append(table)
                files, writer = [], folded
            if writer.rows:
                file = writer.store(store, f"files/{partition:05d}")
                files.append(FileEntry(partition, file.path, file.sha256, file.bytes, file.rows))
        return files

    def _writer(self, scratch: Path) -> EmbeddingFileWriter:
        return EmbeddingFileWriter(scratch, self._file_schema, self._encoder.info.fingerprint)

    def _read(
        self, rows: PartitionRows, numbers: Sequence[int], outcome: _Outcome, meter: Meter
    ) -> Iterator[tuple[int, LoadedImage | str]]:
        """Reads and encodes rows, in order. Yields those for the new file, with the new image, or with the version of
        one whose bytes are the known ones; the others go to `outcome`."""
        requests = (
            ImageRequest(rows.uris[row], item.content_hash if (item := rows.stored(row)) else None) for row in numbers
        )
        for row, answer in zip(numbers, self._encoder.encode_all(requests, meter), strict=True):
            if self._stopped.is_set():
                raise CatalogIndexerError("stopped, because another partition failed")
            version = rows.versions[row] if self._settings.changes is Changes.COLUMN else None
            if isinstance(answer, LoadFailure):
                if answer.reason in TRANSIENT and rows.stored(row):
                    outcome.kept.append(row)
                    outcome.stale.append(row)
                else:
                    outcome.rejects.append(
                        _reject(rows, row, answer.reason, answer.detail, version or answer.source_version)
                    )
                continue
            if isinstance(answer, SameContent):
                item = rows.stored(row)
                assert item is not None
                told = self._settings.changes is Changes.STORE or version is not None
                if rows.says_the_same(row) and not (told and item.source_version != (version or answer.source_version)):
                    outcome.kept.append(row)
                else:
                    yield row, version or answer.source_version
                continue
            assert answer.vector is not None
            problem = _vector_problem(answer.vector, self._encoder.info.metric, self._settings.vector_type)
            if problem:
                outcome.rejects.append(
                    _reject(rows, row, Reason.INVALID_VECTOR, problem, version or answer.source_version)
                )
            else:
                yield row, replace(answer, source_version=version or answer.source_version)

    def _lasting_rejects(self, partition: int) -> dict[str, Reject]:
        entry = self._base.rejects_of(partition) if self._base else None
        return read_lasting(storage.join(self._settings.store, entry.path)) if entry else {}


def _without(entry: FileEntry, item_ids: Sequence[str]) -> FileEntry:
    if not item_ids:
        return entry
    removed = tuple(sorted({*entry.removed, *item_ids}))
    return FileEntry(entry.partition, entry.path, entry.sha256, entry.bytes, entry.rows, removed)


def _reject(rows: PartitionRows, row: int, reason: Reason, detail: str, version: str | None) -> Reject:
    item_id, origin = (rows.table[name][row].as_py() for name in ("item_id", "origin"))
    return Reject(item_id, origin, reason, rows.uris[row], detail, version if reason in LASTING else None)


def _rejected_again(rows: PartitionRows, row: int) -> Reject:
    before = rows.rejected(row)
    assert before is not None
    return replace(before, origin=rows.table["origin"][row].as_py())


def _vector_problem(vector: np.ndarray, metric: str, vector_type: str) -> str | None:
    """Why a vector cannot be stored, None where it can."""
    if not np.isfinite(vector).all():
        return "the encoder gave a value that is not a number"
    if metric == "cosine" and not vector.any():
        return "the encoder gave all zeros, which have no direction"
    if vector_type == "float16" and np.abs(vector).max() > np.finfo(np.float16).max:
        return "a value is too large for float16; use --vector-type float32"
    return None


def _versions_of(uris: Iterable[str]) -> Iterable[str | None]:
    """The present version of each image, asked for in parallel; None where it cannot be told."""

    def version(uri: str) -> str | None:
        try:
            return storage.version_of(uri)
        except (OSError, ValueError, TypeError, CatalogIndexerError):
            return None

    with ThreadPoolExecutor(_STAT_THREADS) as pool:
        return list(pool.map(version, uris))
