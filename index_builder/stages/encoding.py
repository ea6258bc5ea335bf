"""Encoding: a stretch of partitions to the codes of its files, and, in the same read, to exact neighbours."""

from __future__ import annotations

import io
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from catalog import storage
from catalog.snapshot import FileEntry, Snapshot
from index_builder.assembly.code_files import codes_url, write_codes
from index_builder.assembly.snapshot_vectors import file_blocks, row_offsets, rows_of_files
from index_builder.evaluation.ground_truth import Neighbours, exact_neighbours, merge_neighbours
from index_builder.measures import prepare
from index_builder.threads import in_threads
from index_builder.training.codebook import Codebook, encode_block, join_codes, pieces_of
from index_builder.training.sample import VectorSample
from index_builder.version_job import VersionJob
from index_builder.work import Stretch, WorkFolder, encoded_stretches

# Bytes of prepared vectors that are held at a time: of whole files, or of a part of one that is larger.
_BATCH_BYTES = 64 << 20
# Queries that one thread compares with a batch.
_QUERIES_AT_ONCE = 64


def encode_stretch(
    job: VersionJob,
    snapshot: Snapshot,
    stretch: Stretch,
    codebook: tuple[str, Codebook] | None,
    queries: VectorSample,
) -> None:
    """Stores the codes of each file that has none under the codebook, and the stretch's exact neighbours.

    Args:
        job: of which version.
        snapshot: the vectors.
        stretch: which.
        codebook: its id and itself; None for an index without one.
        queries: prepared.
    """
    url = WorkFolder(job).truth(stretch)
    answered = storage.exists(url)
    missing = _without_codes(job, snapshot, stretch, codebook)
    if answered and not missing:
        return
    found = _nobody(len(queries.rows))
    for batch in _batches(job, snapshot, stretch):
        if answered:  # Only codes are missing: they were damaged, and deleted.
            batch = [pair for pair in batch if pair[0].path in missing]
        for vectors, numbers in _encoded(job, snapshot, batch, codebook, missing):
            if not answered:
                parts = [found, _nearest(queries.vectors, vectors, numbers, job.plan.metric)]
                found = merge_neighbours(parts, job.plan.metric)
    if not answered:
        storage.write(url, _packed(found))


def _without_codes(
    job: VersionJob, snapshot: Snapshot, stretch: Stretch, codebook: tuple[str, Codebook] | None
) -> set[str]:
    """The paths of the files of a stretch that have no codes under the codebook."""
    if codebook is None:
        return set()
    files = [entry for partition in stretch.partitions for entry in snapshot.files_of(partition)]
    return {entry.path for entry in files if not storage.exists(codes_url(job.root, codebook[0], entry))}


def _batches(job: VersionJob, snapshot: Snapshot, stretch: Stretch) -> Iterator[list[tuple[FileEntry, np.ndarray]]]:
    """The files of a stretch with the row numbers of their rows, some at a time."""
    offsets, width = row_offsets(snapshot), 4 * snapshot.encoder.dimension
    batch: list[tuple[FileEntry, np.ndarray]] = []
    held = 0
    for partition in stretch.partitions:
        for entry, numbers in rows_of_files(job.store, snapshot, partition, int(offsets[partition])):
            if batch and held + entry.rows * width > _BATCH_BYTES:
                yield batch
                batch, held = [], 0
            batch.append((entry, numbers))
            held += entry.rows * width
    if batch:
        yield batch


@dataclass(frozen=True)
class _Piece:
    """A piece of a file: its vectors as stored, then prepared, and where the file has no codes yet, encoded."""

    file: int
    first: int
    stored: np.ndarray
    prepared: np.ndarray
    encoded: tuple[np.ndarray, np.ndarray] | None = None


def _encoded(
    job: VersionJob,
    snapshot: Snapshot,
    batch: list[tuple[FileEntry, np.ndarray]],
    codebook: tuple[str, Codebook] | None,
    missing: Set[str],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Stores the codes of those files of a batch that are `missing` them. Yields the vectors of rows that count,
    float32 [n, d], prepared, and their row numbers, int64 [n]: all at once, or in parts where a file is large."""
    empty = np.empty((0, job.plan.dimension), np.float32)

    def read() -> Iterator[_Piece]:
        for file, (entry, _) in enumerate(batch):
            first = 0
            for stored in pieces_of(file_blocks(job.store, snapshot, entry)):
                yield _Piece(file, first, stored, empty)
                first += len(stored)

    def work(piece: _Piece) -> _Piece:
        prepared = np.asarray(prepare(piece.stored, job.plan.metric), np.float32)
        encoded = encode_block(codebook[1], prepared) if codebook and batch[piece.file][0].path in missing else None
        return _Piece(piece.file, piece.first, empty, prepared, encoded)

    codes: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    held: list[_Piece] = []
    for piece in in_threads(work, read()):
        if held and sum(each.prepared.nbytes for each in held) + piece.prepared.nbytes > _BATCH_BYTES:
            yield _counting(held, batch)
            held = []
        held.append(replace(piece, encoded=None))
        if piece.encoded:
            codes.setdefault(piece.file, []).append(piece.encoded)
    for file, (entry, _) in enumerate(batch):
        if codebook and entry.path in missing:
            write_codes(codes_url(job.root, codebook[0], entry), join_codes(codebook[1], codes.get(file, [])))
    if held:
        yield _counting(held, batch)


def _counting(pieces: list[_Piece], batch: list[tuple[FileEntry, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Of pieces, the vectors of rows that count and their numbers."""
    vectors = np.concatenate([each.prepared for each in pieces])
    numbers = np.concatenate([batch[each.file][1][each.first : each.first + len(each.prepared)] for each in pieces])
    return (vectors, numbers) if (numbers >= 0).all() else (vectors[numbers >= 0], numbers[numbers >= 0])


def _nearest(queries: np.ndarray, vectors: np.ndarray, numbers: np.ndarray, metric: str) -> Neighbours:
    """The exact neighbours of all queries; each thread asks some of them."""
    some = [queries[start : start + _QUERIES_AT_ONCE] for start in range(0, len(queries), _QUERIES_AT_ONCE)]
    parts = list(in_threads(lambda each: exact_neighbours(each, vectors, numbers, metric), some))
    if not parts:
        return _nobody(len(queries))
    return Neighbours(np.concatenate([each.rows for each in parts]), np.concatenate([each.values for each in parts]))


def _nobody(queries: int) -> Neighbours:
    return Neighbours(np.empty((queries, 0), np.int64), np.empty((queries, 0), np.float32))


def exact_truth(job: VersionJob, snapshot: Snapshot, queries: int) -> Neighbours:
    """The queries' exact neighbours in the whole snapshot; one stretch at a time is merged into the others."""
    found = _nobody(queries)
    for stretch in encoded_stretches(snapshot):
        found = merge_neighbours(
            [found, _unpacked(storage.read_bytes(WorkFolder(job).truth(stretch)))], job.plan.metric
        )
    return found


def _packed(neighbours: Neighbours) -> bytes:
    depth = neighbours.rows.shape[1]
    batch = pa.record_batch(
        {
            "rows": pa.FixedSizeListArray.from_arrays(pa.array(neighbours.rows.reshape(-1), pa.int64()), depth),
            "values": pa.FixedSizeListArray.from_arrays(pa.array(neighbours.values.reshape(-1), pa.float32()), depth),
        }
        if depth
        else {"rows": pa.array([], pa.int64()), "values": pa.array([], pa.float32())}
    ).replace_schema_metadata({"queries": str(len(neighbours.rows)), "depth": str(depth)})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _unpacked(data: bytes) -> Neighbours:
    batch = pa.ipc.open_file(pa.BufferReader(data)).get_batch(0)
    shape = (int(batch.schema.metadata[b"queries"]), int(batch.schema.metadata[b"depth"]))
    if not shape[1]:
        return _nobody(shape[0])
    rows, values = (batch.column(name).flatten().to_numpy().reshape(shape) for name in ("rows", "values"))
    return Neighbours(rows, values)
