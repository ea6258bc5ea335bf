"""Samples by the hash of the item id: the same rows for any order, workers or machine; never the first N.

The rows with the lowest hashes are the queries of the evaluation; of the others, those with the lowest hashes under
another seed are what is trained on. Rows that are no use to a trainer - vectors that are not finite, or zero - are left
out, and of equal vectors one is kept.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import xxhash

from catalog import storage
from catalog.partition import item_hashes

TRAINING_SEED = 0x7EA1
QUERY_SEED = 0x9E57
# Of a small catalog, at most this share asks where anything is trained: the others are trained on.
MOST_ASKING = 0.2
# A hash threshold gives about the wanted number: aim a little higher and cut.
_OVERSAMPLING = 1.1


@dataclass(frozen=True)
class VectorSample:
    """Sampled rows. `keys` uint64 [n] is the hash that chose them, `rows` int64 [n] their row numbers, `vectors` [n, d]
    as stored."""

    keys: np.ndarray
    rows: np.ndarray
    vectors: np.ndarray


@dataclass(frozen=True)
class Shares:
    """What is drawn: the share of the rows that ask, and the share that is trained on, for each value of a column
    where one is to be represented, and for all others."""

    queries: float
    training: float
    by_value: Mapping[str, float]

    @classmethod
    def of(cls, queries: int, training: int, rows: int, strata: Mapping[str, int] | None = None) -> Shares:
        """Shares that give about `queries` and `training` of `rows` rows.

        Args:
            strata: rows of each value. Half of the training rows are dealt to the values alike, half by their rows, so
                that a rare value is seen and a frequent one is not forgotten.
        """
        asking = min(1.0, _OVERSAMPLING * queries / max(1, rows))
        common = min(1.0, _OVERSAMPLING * training / max(1, rows))
        if not strata:
            return cls(asking, common, {})
        alike = _OVERSAMPLING * training / 2 / len(strata)
        shares = {value: min(1.0, common / 2 + alike / count) for value, count in strata.items()}
        return cls(asking, common, shares)


@dataclass(frozen=True)
class Drawn:
    """The rows drawn of one partition: those that ask, and those to train on, with a digest of each vector (uint64).
    Where no row's hash is among those that ask, `queries` is the row of the lowest, for `merge_queries`."""

    queries: VectorSample
    training: VectorSample
    digests: np.ndarray


def draw(
    item_ids: Sequence[str],
    vectors: np.ndarray,
    first_row: int,
    seed: int,
    shares: Shares,
    values: Sequence[str] | None = None,
) -> Drawn:
    """Draws from consecutive rows.

    Args:
        item_ids: of the rows.
        vectors: [n, d], as stored.
        first_row: row number of the first.
        seed: of the training sample.
        shares: how much.
        values: of the column to represent.
    """
    asking_keys, keys = item_hashes(item_ids, QUERY_SEED), item_hashes(item_ids, TRAINING_SEED + seed)
    asking = _below(asking_keys, np.full(len(keys), shares.queries))
    wanted = np.full(len(keys), shares.training)
    if values is not None:
        wanted = np.array([shares.by_value.get(value, shares.training) for value in values])
    training = _below(keys, wanted) & ~asking
    # In units of a row's own share, so that the cut to the wanted number takes the same part of every value.
    if values is not None:
        keys = np.minimum(keys / np.maximum(wanted, 2.0**-64) / 4, 2.0**62).astype(np.uint64)
    rows = VectorSample(asking_keys, first_row + np.arange(len(keys)), vectors)
    queries = _usable(rows, np.flatnonzero(asking))
    trained = _usable(VectorSample(keys, first_row + np.arange(len(keys)), vectors), np.flatnonzero(training))
    digests = np.fromiter((xxhash.xxh3_64_intdigest(each.tobytes()) for each in trained.vectors), np.uint64)
    return Drawn(queries if len(queries.keys) else _lowest(rows), trained, digests)


def merge_drawn(parts: Sequence[Drawn], shares: Shares, dimension: int) -> Drawn:
    """What `draw` gives of all rows together, from what it gave of some after the other.

    Args:
        parts: of the rows, in order.
        shares: how much was drawn.
        dimension: of the vectors.
    """
    if not parts:
        nothing = VectorSample(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty((0, dimension), np.float32))
        return Drawn(nothing, nothing, np.empty(0, np.uint64))
    queries = [part.queries for part in parts]
    asking = [each for each in queries if _below(each.keys, np.full(len(each.keys), shares.queries)).any()]
    if not asking:  # Then each is the row of the lowest hash, or none.
        asking = sorted(queries, key=lambda each: int(each.keys[0]) if len(each.keys) else 1 << 64)[:1]
    digests = np.concatenate([part.digests for part in parts])
    return Drawn(_joined(asking), _joined([part.training for part in parts]), digests)


def _joined(parts: Sequence[VectorSample]) -> VectorSample:
    return VectorSample(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.vectors for part in parts]),
    )


def _lowest(rows: VectorSample) -> VectorSample:
    """The usable row of the lowest hash; none where none is usable."""
    for place in np.argsort(rows.keys, kind="stable").tolist():
        found = _usable(rows, np.array([place]))
        if len(found.keys):
            return found
    return _usable(rows, np.empty(0, np.int64))


def _below(keys: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Whether each hash is in the lowest share of its range; each row has its own share."""
    return (keys >> np.uint64(11)).astype(np.float64) < shares * 2.0**53


def _usable(rows: VectorSample, picked: np.ndarray) -> VectorSample:
    vectors = np.asarray(rows.vectors[picked])
    values = vectors.astype(np.float32)
    picked = picked[np.isfinite(values).all(axis=1) & values.any(axis=1)]
    return VectorSample(rows.keys[picked], rows.rows[picked].astype(np.int64), rows.vectors[picked])


def merge_samples(parts: Sequence[VectorSample], most: int) -> VectorSample:
    """All parts as one, ordered by hash, cut at `most` rows."""
    if not parts:
        return VectorSample(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty((0, 0), np.float32))
    keys = np.concatenate([part.keys for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    order = np.lexsort((rows, keys))[:most]
    vectors = np.concatenate([part.vectors for part in parts if len(part.keys)] or [parts[0].vectors])
    return VectorSample(keys[order], rows[order], vectors[order])


def merge_queries(parts: Sequence[VectorSample], share: float, most: int) -> VectorSample:
    """The rows that ask: of all parts those whose hashes are in the lowest `share`, `most` at most. Of a catalog so
    small that there is none, the row of the lowest hash asks, and may be trained on as well."""
    drawn = merge_samples(parts, sum(len(part.keys) for part in parts))
    asking = int(_below(drawn.keys, np.full(len(drawn.keys), share)).sum())
    kept = slice(max(1, min(asking, most)))
    return VectorSample(drawn.keys[kept], drawn.rows[kept], drawn.vectors[kept])


def kept_rows(keys: np.ndarray, digests: np.ndarray, most: int, least: int) -> np.ndarray:
    """bool [n]: of all drawn rows, those with the lowest hashes, `most` at most, and one of each vector; where there
    are fewer than `least` different vectors, copies fill up to that."""
    order = np.argsort(keys, kind="stable")
    _, first = np.unique(digests[order], return_index=True)
    picked = np.sort(first)[:most]
    if len(picked) < least:
        copies = np.setdiff1d(np.arange(len(order)), picked)
        picked = np.concatenate([picked, copies[: least - len(picked)]])
    kept = np.zeros(len(keys), bool)
    kept[order[picked]] = True
    return kept


def write_sample(url: str, sample: VectorSample, digests: np.ndarray | None = None) -> None:
    """Stores sampled rows as one uncompressed Arrow batch: key, row, digest, vector."""
    width = sample.vectors.dtype.itemsize * sample.vectors.shape[1]
    data = pa.py_buffer(np.ascontiguousarray(sample.vectors))
    batch = pa.record_batch(
        {
            "key": pa.array(sample.keys, pa.uint64()),
            "row": pa.array(sample.rows, pa.int64()),
            "digest": pa.array(np.zeros(len(sample.keys), np.uint64) if digests is None else digests, pa.uint64()),
            "vector": pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(sample.keys), [None, data]),
        }
    ).replace_schema_metadata({"dtype": sample.vectors.dtype.name, "dimension": str(sample.vectors.shape[1])})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    storage.write(url, sink.getvalue())


def read_sample(url: str) -> tuple[VectorSample, np.ndarray]:
    """A sample as it was stored, and its digests; views of the file."""
    path = storage.store_for(url).local_path(url)
    source = pa.memory_map(str(path)) if path else pa.BufferReader(storage.read_bytes(url))
    batch = pa.ipc.open_file(source).get_batch(0)
    notes = batch.schema.metadata
    flat = np.frombuffer(batch.column("vector").buffers()[1] or b"", np.dtype(notes[b"dtype"].decode()))
    vectors = flat.reshape(-1, int(notes[b"dimension"]))[: len(batch)]
    columns = (batch.column(name).to_numpy() for name in ("key", "row", "digest"))
    keys, rows, digests = columns
    return VectorSample(keys, rows, vectors), digests
