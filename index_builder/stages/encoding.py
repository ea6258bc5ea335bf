"""Encoding: a stretch of partitions to the codes of its files, and, in the same read, to exact neighbours."""

from __future__ import annotations

import io
import time

import numpy as np
import pyarrow as pa

from catalog import storage
from catalog.snapshot import Snapshot
from catalog.vector_column import read_vectors
from index_builder.code_files import codes_url, write_codes
from index_builder.codebook import Codebook, encode_vectors
from index_builder.ground_truth import Neighbours, exact_neighbours, merge_neighbours
from index_builder.measures import prepare
from index_builder.sample import VectorSample
from index_builder.snapshot_vectors import row_offsets, rows_of_files
from index_builder.version_job import VersionJob
from index_builder.work import Stretch, WorkFolder, encoded_stretches

_BLOCK = 65_536


def encode_stretch(
    job: VersionJob,
    snapshot: Snapshot,
    stretch: Stretch,
    codebook: tuple[str, Codebook] | None,
    queries: VectorSample,
) -> dict[str, float]:
    """Stores the codes of each file that has none under the codebook, and the stretch's exact neighbours.

    Args:
        job: of which version.
        snapshot: the vectors.
        stretch: which.
        codebook: its id and itself; None for an index without one.
        queries: prepared.

    Returns:
        Seconds that went into `read`, `encode` and `truth`.
    """
    folder = WorkFolder(job)
    seconds = dict.fromkeys(("read", "encode", "truth"), 0.0)
    if storage.exists(folder.truth(stretch)):
        return seconds
    offsets, dimension = row_offsets(snapshot), snapshot.encoder.dimension
    found: list[Neighbours] = []
    buffer: np.ndarray | None = None
    for partition in stretch.partitions:
        for entry, numbers in rows_of_files(job.store, snapshot, partition, int(offsets[partition])):
            started = time.perf_counter()
            # Memory that was used before is much faster than new memory, so one buffer serves all files.
            dtype = np.dtype(snapshot.vector_type)
            if buffer is None or len(buffer) < entry.rows or buffer.dtype != dtype:
                buffer = np.empty((entry.rows, dimension), dtype)
            vectors = read_vectors(storage.join(job.store, entry.path), dimension, out=buffer)
            seconds["read"] += time.perf_counter() - started
            started = time.perf_counter()
            if codebook is not None:
                url = codes_url(job.root, codebook[0], entry)
                if not storage.exists(url):
                    write_codes(url, encode_vectors(codebook[1], vectors, job.plan.metric))
            seconds["encode"] += time.perf_counter() - started
            started = time.perf_counter()
            found = [_nearest(job, queries, vectors, numbers, found)]
            seconds["truth"] += time.perf_counter() - started
    started = time.perf_counter()
    storage.write(folder.truth(stretch), _packed(found[0] if found else _nobody(len(queries.rows))))
    seconds["truth"] += time.perf_counter() - started
    return seconds


def _nearest(
    job: VersionJob, queries: VectorSample, vectors: np.ndarray, numbers: np.ndarray, before: list[Neighbours]
) -> Neighbours:
    parts = list(before)
    for start in range(0, len(vectors), _BLOCK):
        mine = numbers[start : start + _BLOCK]
        block = vectors[start : start + _BLOCK]
        if (mine < 0).any():
            block, mine = block[mine >= 0], mine[mine >= 0]
        parts.append(exact_neighbours(queries.vectors, prepare(block, job.plan.metric), mine, job.plan.metric))
    return merge_neighbours(parts, job.plan.metric) if parts else _nobody(len(queries.rows))


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
