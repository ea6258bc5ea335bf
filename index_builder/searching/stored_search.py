"""Search by the stored vectors themselves: the order of what the codes propose, and the nearest of a few rows."""

from __future__ import annotations

import numpy as np

from index_builder.faiss_import import faiss
from index_builder.measures import faiss_metric, larger_is_nearer, similarity
from index_builder.searching.vector_file import StoredVectors

_BYTES_AT_ONCE = 64 << 20
# Matrix products round otherwise than one pair does: a few more are taken, and measured pair by pair.
_SPARE = 16


def worst(metric: str) -> float:
    """The value of a row that is missing: farther than any."""
    return -np.inf if larger_is_nearer(metric) else np.inf


def nearest_first(rows: np.ndarray, values: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Each query's rows [q, n] and values [q, n] in order: nearest first, of equals the lower row, missing ones (-1)
    last."""
    values = np.where(rows < 0, np.float32(worst(metric)), values)
    # As unsigned numbers, the missing rows are the largest.
    order = np.lexsort((rows.view(np.uint64), -values if larger_is_nearer(metric) else values), axis=1)
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)


def measure(queries: np.ndarray, rows: np.ndarray, stored: StoredVectors, metric: str) -> np.ndarray:
    """How near each query is to each of its rows. A value depends on its query and its row alone.

    Args:
        queries: float32 [q, d], prepared.
        rows: int64 [q, n], -1 for none.
        stored: the vectors.
        metric: one of `catalog.encoder_info.METRICS`.

    Returns:
        float32 [q, n], as FAISS measures.
    """
    values = np.empty(rows.shape, np.float32)
    at_once = max(1, _BYTES_AT_ONCE // max(1, rows.shape[1] * stored.dimension * 4))
    for start in range(0, len(queries), at_once):
        block = slice(start, start + at_once)
        if len(stored.parts) == 1 and stored.parts[0].dtype == np.float32:
            vectors, places = stored.parts[0], rows[block]  # Straight from the mapped file.
        else:
            wanted, places = np.unique(rows[block], return_inverse=True)
            missing = int(len(wanted) > 0 and wanted[0] < 0)
            vectors, places = stored.take(wanted[missing:]), places.reshape(rows[block].shape) - missing
        values[block] = _by_place(queries[block], places, vectors, metric)
    return values


def _by_place(queries: np.ndarray, places: np.ndarray, vectors: np.ndarray, metric: str) -> np.ndarray:
    """float32 [q, n]: each query against the vectors at its places, -1 for none."""
    library = faiss()
    values = np.empty(places.shape, np.float32)
    if metric == "l1":
        for number, query in enumerate(queries):
            values[number] = similarity(query, vectors[places[number]], metric) if len(vectors) else worst(metric)
        values[places < 0] = worst(metric)
        return values
    function = library.fvec_L2sqr_by_idx if metric == "l2" else library.fvec_inner_products_by_idx
    queries, places = np.ascontiguousarray(queries), np.ascontiguousarray(places, np.int64)
    vectors = np.ascontiguousarray(vectors)
    pointer = library.swig_ptr
    count, width = places.shape
    function(
        pointer(values), pointer(queries), pointer(vectors), pointer(places), vectors.shape[1], count, width
    )  # Which leaves the worst value where there is none.
    return values


def nearest_of(
    queries: np.ndarray, rows: np.ndarray, k: int, stored: StoredVectors, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """The exact nearest of some rows, for all queries at once.

    Args:
        queries: float32 [q, d], prepared.
        rows: int64 [n] in rising order, the rows to choose from.
        k: how many; all where there are fewer, and -1 for the rest.

    Returns:
        rows int64 [q, k] and values float32 [q, k].
    """
    most = min(len(rows), k + _SPARE)
    found = np.full((len(queries), most), -1, np.int64)
    values = np.full((len(queries), most), worst(metric), np.float32)
    at_once = max(1, _BYTES_AT_ONCE // (stored.dimension * 4))
    for start in range(0, len(rows), at_once):
        block = rows[start : start + at_once]
        near, places = faiss().knn(queries, stored.take(block), min(most, len(block)), metric=faiss_metric(metric))
        both = np.concatenate([found, block[places]], axis=1), np.concatenate([values, near], axis=1)
        found, values = (each[:, :most] for each in nearest_first(*both, metric))
    found, values = nearest_first(found, measure(queries, found, stored, metric), metric)
    if most >= k:
        return found[:, :k], values[:, :k]
    missing = ((0, 0), (0, k - most))
    return np.pad(found, missing, constant_values=-1), np.pad(values, missing, constant_values=worst(metric))
