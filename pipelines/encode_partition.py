"""One partition from rows to a commit: what is new is read, decoded, encoded and written; the rest is kept.

This is the body of the fused DoFn, callable without Beam. Pixels never leave it.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from catalog import storage
from catalog.embedding_file import EmbeddingFileWriter, read_file, schema, vector_array
from catalog.partition_rows import PartitionDiff, StoredItem, clean, compare, stored_items
from catalog.rejects import Reason, Reject, count_by_reason, encode_rejects
from catalog.rows import row_schema
from catalog.run import PartitionResult, Run
from catalog.snapshot import Counts, FileEntry, RejectsEntry, Snapshot
from encoders.decode import DecodeLimits
from encoders.encoder import Encoder
from encoders.image_loader import ImageLoader, LoadedImage, LoadFailure

_STAT_THREADS = 16


@dataclass(frozen=True)
class EncodeSettings:
    """What a worker must know of a run, small enough to travel with the job.

    Attributes:
        store: URL of the embedding store.
        run_id: of the run.
        parent: the snapshot that the run starts from.
        encoder_spec: the `--encoder` text.
        fingerprint: what the launcher found that text to be; a worker that finds another stops.
        vector_type: of the stored vectors.
        metadata: Arrow schema of the metadata, serialised.
        limits: of the decoder.
    """

    store: str
    run_id: str
    parent: int | None
    encoder_spec: str
    fingerprint: str
    vector_type: str
    metadata: bytes
    limits: DecodeLimits

    @property
    def metadata_schema(self) -> pa.Schema:
        return pa.ipc.read_schema(pa.BufferReader(self.metadata))


class PartitionEncoder:
    """Encodes partitions of one run, one at a time."""

    def __init__(self, settings: EncodeSettings, encoder: Encoder, parent: Snapshot | None) -> None:
        self._settings = settings
        self._encoder = encoder
        self._parent = parent
        self._run = Run(settings.store, settings.run_id)
        self._metadata = settings.metadata_schema
        self._loader = ImageLoader(encoder.info.input_size, settings.limits)
        self._file_schema = schema(encoder.info.dimension, settings.vector_type, self._metadata)

    def encode(self, partition: int, batches: Sequence[pa.RecordBatch]) -> PartitionResult:
        """Does what the partition lacks and commits it; a partition committed by an earlier try is only read."""
        if committed := self._run.read_commit(partition):
            return committed
        cleaned = clean(batches, row_schema(self._metadata))
        before = self._parent.files_of(partition) if self._parent else []
        stored = stored_items(self._settings.store, before)
        diff = compare(cleaned.rows, stored, _versions_of)
        rejects = list(cleaned.rejects)
        files = [_without(entry, diff.superseded.get(number, [])) for number, entry in enumerate(before)]
        embedded = 0
        if diff.encode or diff.update:
            written, failures = self._write(partition, cleaned.rows, diff, stored, before)
            embedded = len(diff.encode) - len(failures)
            rejects += failures
            if written is not None:
                files.append(written)
        files = [entry for entry in files if entry.live_rows]
        counts = Counts(
            rows=sum(batch.num_rows for batch in batches),
            embedded=embedded,
            reused=len(diff.keep) + len(diff.update),
            rejected=len(rejects),
            rejects_by_reason=count_by_reason(rejects),
            removed=diff.removed,
        )
        entry, rejects_changed = self._store_rejects(partition, rejects)
        changed = files != before or rejects_changed
        result = PartitionResult(partition, tuple(files), entry, counts, changed)
        # A partition in which nothing happened leaves no trace: checking it again is cheaper than a commit.
        return self._run.commit(result) if changed else result

    def _write(
        self,
        partition: int,
        rows: pa.Table,
        diff: PartitionDiff,
        stored: dict[str, StoredItem],
        before: Sequence[FileEntry],
    ) -> tuple[FileEntry | None, list[Reject]]:
        """Writes the partition's new file: encoded rows and updated ones, merged in item order."""
        failures: list[Reject] = []
        updates = self._updated_rows(rows, diff.update, stored, before)
        with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as folder:
            writer = EmbeddingFileWriter(
                Path(folder) / "embeddings.parquet", self._file_schema, self._encoder.info.fingerprint
            )
            taken = 0
            for encoded in self._encoded_rows(rows, diff.encode, failures):
                upto = taken
                last = encoded["item_id"][-1].as_py()
                while upto < len(updates) and updates["item_id"][upto].as_py() < last:
                    upto += 1
                merged = pa.concat_tables([encoded, updates.slice(taken, upto - taken)]).sort_by("item_id")
                writer.append(merged)
                taken = upto
            if taken < len(updates):
                writer.append(updates.slice(taken))
            if writer.rows == 0:
                return None, failures
            file = writer.store(self._settings.store, f"files/{partition:05d}")
        return FileEntry(partition, file.path, file.sha256, file.bytes, file.rows), failures

    def _encoded_rows(self, rows: pa.Table, numbers: Sequence[int], failures: list[Reject]) -> Iterator[pa.Table]:
        """Encodes rows in fixed batches; yields tables of the file schema and appends what failed to `failures`."""
        chosen = rows.take(pa.array(numbers, pa.int64()))
        uris = chosen["image_uri"].to_pylist()
        ready: list[tuple[int, LoadedImage]] = []
        for number, loaded in enumerate(self._loader.load_all(uris)):
            if isinstance(loaded, LoadFailure):
                failures.append(_reject(chosen, number, loaded.reason, loaded.detail))
            else:
                ready.append((number, loaded))
            if len(ready) == self._encoder.batch_size:
                yield from self._encode_batch(chosen, ready, failures)
                ready = []
        if ready:
            yield from self._encode_batch(chosen, ready, failures)

    def _encode_batch(
        self, chosen: pa.Table, ready: list[tuple[int, LoadedImage]], failures: list[Reject]
    ) -> Iterator[pa.Table]:
        vectors = self._encoder.encode(np.stack([loaded.pixels for _, loaded in ready]))
        good = []
        for position, (number, _) in enumerate(ready):
            problem = _vector_problem(vectors[position], self._encoder.info.metric, self._settings.vector_type)
            if problem:
                failures.append(_reject(chosen, number, Reason.INVALID_VECTOR, problem))
            else:
                good.append(position)
        if not good:
            return
        images = [ready[position][1] for position in good]
        part = chosen.take(pa.array([ready[position][0] for position in good], pa.int64()))
        columns = {
            "item_id": part["item_id"],
            "product_id": part["product_id"],
            "embedding": vector_array(vectors[good], self._settings.vector_type),
            "content_hash": pa.array([image.content_hash for image in images], pa.binary(32)),
            "phash": pa.array([image.phash for image in images], pa.uint64()),
            "thumbnail": pa.array([image.thumbnail for image in images], pa.binary(192)),
            "width": pa.array([image.width for image in images], pa.int32()),
            "height": pa.array([image.height for image in images], pa.int32()),
            "image_uri": part["image_uri"],
            "source_version": pa.array([image.source_version for image in images], pa.string()),
        }
        if len(self._metadata):
            columns["metadata"] = part["metadata"]
        yield pa.table(columns).cast(self._file_schema)

    def _updated_rows(
        self, rows: pa.Table, numbers: Sequence[int], stored: dict[str, StoredItem], before: Sequence[FileEntry]
    ) -> pa.Table:
        """Stored rows with the catalog's present product and metadata, in item order."""
        if not numbers:
            return self._file_schema.empty_table()
        chosen = rows.take(pa.array(numbers, pa.int64()))
        places = [stored[item_id] for item_id in chosen["item_id"].to_pylist()]
        pieces = []
        for file in sorted({place.file for place in places}):
            table = read_file(storage.join(self._settings.store, before[file].path))
            pieces.append(table.take(pa.array([place.row for place in places if place.file == file], pa.int64())))
        kept = [name for name in self._file_schema.names if name not in ("product_id", "metadata")]
        copied = pa.concat_tables([piece.select(kept) for piece in pieces]).sort_by("item_id")
        copied = copied.append_column("product_id", chosen["product_id"])
        if len(self._metadata):
            copied = copied.append_column("metadata", chosen["metadata"])
        return copied.select(self._file_schema.names).cast(self._file_schema)

    def _store_rejects(self, partition: int, rejects: list[Reject]) -> tuple[RejectsEntry | None, bool]:
        """Stores the rejects unless the parent snapshot has the same ones; says whether they changed."""
        there = self._parent.rejects_of(partition) if self._parent else None
        if not rejects:
            return None, there is not None
        data = encode_rejects(rejects)
        digest = hashlib.sha256(data).hexdigest()
        if there is not None and there.sha256 == digest:
            return there, False
        path = self._run.rejects_path(partition)
        storage.write(storage.join(self._settings.store, path), data)
        return RejectsEntry(partition, path, digest, len(rejects)), True


def _without(entry: FileEntry, item_ids: Sequence[str]) -> FileEntry:
    if not item_ids:
        return entry
    removed = tuple(sorted({*entry.removed, *item_ids}))
    return FileEntry(entry.partition, entry.path, entry.sha256, entry.bytes, entry.rows, removed)


def _reject(rows: pa.Table, number: int, reason: Reason, detail: str) -> Reject:
    item_id, origin, uri = (rows[name][number].as_py() for name in ("item_id", "origin", "image_uri"))
    return Reject(item_id, origin, reason, uri, detail)


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
        except (OSError, ValueError):
            return None

    with ThreadPoolExecutor(_STAT_THREADS) as pool:
        return list(pool.map(version, uris))
