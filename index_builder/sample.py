"""Samples by the hash of the item id: the same rows for any order, workers or machine; never the first N."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.partition import item_hashes

TRAINING_SEED = 0x7EA1
QUERY_SEED = 0x9E57


@dataclass(frozen=True)
class VectorSample:
    """Sampled rows. `keys` uint64 [n] is the hash that chose them, `rows` int64 [n] their row numbers, `vectors` [n, d]
    as stored."""

    keys: np.ndarray
    rows: np.ndarray
    vectors: np.ndarray


def sample(item_ids: Sequence[str], vectors: np.ndarray, first_row: int, seed: int, share: float) -> VectorSample:
    """Those rows whose hash lies in the lowest `share` of its range; vectors that are not finite are left out."""
    keys = item_hashes(item_ids, seed)
    chosen = keys < np.uint64(min(2**64 - 1, int(share * 2**64))) if share < 1 else np.ones(len(keys), bool)
    picked = np.flatnonzero(chosen)
    finite = np.isfinite(np.asarray(vectors[picked], np.float32)).all(axis=1)
    picked = picked[finite]
    return VectorSample(keys[picked], first_row + picked.astype(np.int64), vectors[picked])


def merge_samples(parts: Sequence[VectorSample], most: int) -> VectorSample:
    """All parts as one, ordered by hash, cut at `most` rows."""
    if not parts:
        return VectorSample(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty((0, 0), np.float32))
    keys = np.concatenate([part.keys for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    order = np.lexsort((rows, keys))[:most]
    vectors = np.concatenate([part.vectors for part in parts if len(part.keys)] or [parts[0].vectors])
    return VectorSample(keys[order], rows[order], vectors[order])
