"""One partition from rows to a commit: what is new is read, decoded, encoded and written; the rest is kept.

This is the body of the fused DoFn, callable without Beam, by several threads at once. Pixels never leave it.
"""

from __future__ import annotations

import contextlib
import heapq
import tempfile
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog import compaction, storage
from catalog.embedding_file import EmbeddingFileWriter, schema
from catalog.errors import CatalogIndexerError
from catalog.id_slices import in_pieces
from catalog.partition_rows import Changes, PartitionRows, compare
from catalog.partition_slices import PartitionSources
from catalog.reject_pile import RejectPile
from catalog.rejects import LASTING, TRANSIENT, Reason, Reject
from catalog.rows import row_schema
from catalog.run import PartitionResult, Run
from catalog.snapshot import Counts, FileEntry, Snapshot
from catalog.stored_rows import StoredRows
from encoders.decode import DecodeLimits
from encoders.image_encoder import ImageEncoder
from encoders.image_loader import ImageRequest, LoadedImage, LoadFailure, SameContent
from encoders.meter import Meter
from pipelines.partition_outcome import PartitionOutcome
from pipelines.partition_tables import PartitionTables

_STAT_THREADS = 32
# The rows of a table that a file is given; its pages depend on that.
_ROWS_AT_ONCE = 512
_BETWEEN_LOOKS = 0.1
_FOLDED_ROWS_AT_ONCE = 4_096


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
        key: seals secrets of locations in row files; travels with the job and is stored nowhere else.
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
    key: bytes = field(repr=False)
    changes: Changes = Changes.STORE
    compact_at: float = compaction.DEFAULT_THRESHOLD
    threads: int | None = None

    @property
    def metadata_schema(self) -> pa.Schema:
        return pa.ipc.read_schema(pa.BufferReader(self.metadata))


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

    def _check_stopped(self) -> None:
        if self._stopped.is_set():
            raise CatalogIndexerError("stopped, because another partition failed")

    def encode(self, partition: int, names: Iterable[str]) -> PartitionResult:
        """Does what the partition lacks and commits it; a partition committed by an earlier try is only read.

        Args:
            partition: its number.
            names: of its row files, see `catalog.row_files`.
        """
        if committed := self._run.read_commit(partition):
            return committed
        meter = Meter()
        store = self._settings.store
        before = self._base.files_of(partition) if self._base else []
        rejected = self._base.rejects_of(partition) if self._base else None
        with (
            tempfile.TemporaryDirectory(prefix="catalog-indexer-") as folder,
            StoredRows(store, before) as stored,
        ):
            sources = PartitionSources(
                self._run.rows_folder(partition),
                tuple(names),
                self._settings.key,
                row_schema(self._metadata),
                stored,
                storage.join(store, rejected.path) if rejected else None,
                Path(folder),
            )
            outcome = PartitionOutcome(RejectPile(Path(folder)), before)
            files = self._write(partition, sources, outcome, meter)
            entry, rejects_changed = self._run.store_rejects(partition, outcome.rejects, rejected)
        counts = Counts(
            rows=outcome.rows,
            embedded=outcome.encoded,
            reused=outcome.kept + outcome.copied,
            rejected=len(outcome.rejects),
            rejects_by_reason=outcome.rejects.by_reason(),
            removed=outcome.removed,
            stale=outcome.stale,
        )
        changed = files != before or rejects_changed
        result = PartitionResult(partition, tuple(files), entry, counts, changed, meter.totals())
        # A partition in which nothing happened leaves no trace: checking it again is cheaper than a commit.
        return self._run.commit(result) if changed else result

    def _write(
        self, partition: int, sources: PartitionSources, outcome: PartitionOutcome, meter: Meter
    ) -> list[FileEntry]:
        """Writes what is new as one file, or all as one file when compaction is due; returns the partition's files."""
        before = sources.stored.files
        writer = self._writer(sources.scratch / "delta.parquet")
        for table in in_pieces(self._fresh(sources, outcome, meter), _ROWS_AT_ONCE):
            writer.append(table)
        files = outcome.files(before)
        changed = writer.rows or files != list(before)
        if changed and compaction.is_due(files, writer.rows, self._settings.compact_at):
            folded = self._writer(sources.scratch / "folded.parquet")
            for table in in_pieces(self._folded(sources, outcome, writer.finish()), _FOLDED_ROWS_AT_ONCE):
                folded.append(table)
            files, writer = [], folded
        if writer.rows:
            file = writer.store(self._settings.store, f"files/{partition:05d}")
            files.append(FileEntry(partition, file.path, file.sha256, file.bytes, file.rows))
        return files

    def _fresh(self, sources: PartitionSources, outcome: PartitionOutcome, meter: Meter) -> Iterator[pa.Table]:
        """The rows of the new file, in order; what becomes of all others goes to `outcome`."""
        for rows in sources.slices(outcome.rejects.add, outcome.count):
            tables = self._tables(sources, rows)
            diff = compare(rows, self._settings.changes, _versions_of)
            for row in diff.rejected:
                outcome.rejects.add(_rejected_again(rows, row))
            kept, stale = list(diff.keep), list[int]()
            fresh = heapq.merge(
                ((row, None) for row in diff.update),
                self._read(rows, diff.read, outcome.rejects, kept, stale, meter),
                key=lambda pair: pair[0],
            )
            while chunk := list(islice(fresh, _ROWS_AT_ONCE)):
                outcome.copied += sum(not isinstance(what, LoadedImage) for _, what in chunk)
                outcome.encoded += sum(isinstance(what, LoadedImage) for _, what in chunk)
                yield tables.merged(chunk)
            outcome.close_slice(rows, [*kept, *stale], stale)

    def _folded(self, sources: PartitionSources, outcome: PartitionOutcome, delta: Path) -> Iterator[pa.Table]:
        """All rows of the partition in order: those that are kept and those of the local file `delta`."""
        with pq.ParquetFile(delta) as file:
            fresh = (file.read_row_group(group) for group in range(file.num_row_groups))
            for rows, new in sources.with_fresh(fresh, file.schema_arrow):
                yield self._tables(sources, rows).folded(*outcome.staying(rows), new)

    def _tables(self, sources: PartitionSources, rows: PartitionRows) -> PartitionTables:
        return PartitionTables(sources.stored, rows, self._file_schema, self._settings.vector_type)

    def _writer(self, scratch: Path) -> EmbeddingFileWriter:
        return EmbeddingFileWriter(scratch, self._file_schema, self._encoder.info.fingerprint)

    def _read(
        self,
        rows: PartitionRows,
        numbers: Sequence[int],
        rejects: RejectPile,
        kept: list[int],
        stale: list[int],
        meter: Meter,
    ) -> Iterator[tuple[int, LoadedImage | str]]:
        """Reads and encodes rows, in order. Yields those for the new file, with the new image, or with the version of
        one whose bytes are the known ones; the others go to `rejects`, `kept` and `stale`."""
        wanted = (
            ImageRequest(rows.uris[row], item.content_hash if (item := rows.stored(row)) else None) for row in numbers
        )
        # Closed also where an error leaves it half way, which would keep the turn.
        with contextlib.closing(self._in_turn(wanted)) as requests:
            for row, answer in zip(numbers, self._encoder.encode_all(requests, meter), strict=True):
                self._check_stopped()
                version = rows.versions[row] if self._settings.changes is Changes.COLUMN else None
                if isinstance(answer, LoadFailure):
                    if answer.reason in TRANSIENT and rows.stored(row):
                        stale.append(row)
                    else:
                        rejects.add(_reject(rows, row, answer.reason, answer.detail, version or answer.source_version))
                    continue
                if isinstance(answer, SameContent):
                    item = rows.stored(row)
                    assert item is not None
                    told = self._settings.changes is Changes.STORE or version is not None
                    if rows.says_the_same(row) and not (
                        told and item.source_version != (version or answer.source_version)
                    ):
                        kept.append(row)
                    else:
                        yield row, version or answer.source_version
                    continue
                assert answer.vector is not None
                problem = _vector_problem(answer.vector, self._encoder.info.metric, self._settings.vector_type)
                if problem:
                    rejects.add(_reject(rows, row, Reason.INVALID_VECTOR, problem, version or answer.source_version))
                else:
                    yield row, replace(answer, source_version=version or answer.source_version)

    def _in_turn(self, requests: Iterable[ImageRequest]) -> Generator[ImageRequest]:
        """Requests of one partition at a time: those of the next begin when these are all under way. A worker that is
        lost takes no more with it than one partition and what the next has begun meanwhile."""
        while not self._encoder.turn.acquire(timeout=_BETWEEN_LOOKS):
            self._check_stopped()
        try:
            yield from requests
        finally:
            self._encoder.turn.release()


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
