"""Drawn thumbnails and embeddings with near copies among them, and the slow way to compare them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dedupe.list_join import PAIRS, Entries
from dedupe.measure import Measure


def pictures(count: int, copies: int, seed: int, dimension: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """`count` pictures, each `copies` times with little noise: uint8 [n, 192] and float32 [n, dimension]."""
    draw = np.random.default_rng(seed)
    coarse = draw.normal(size=(count, 3, 3, 3)).repeat(3, axis=1).repeat(3, axis=2)[:, :8, :8]
    smooth = 128 + 45 * coarse + draw.normal(size=(count, 8, 8, 1)) * 25
    noisy = np.repeat(smooth, copies, axis=0) + draw.normal(size=(count * copies, 8, 8, 3)) * 4
    meaning = np.repeat(draw.normal(size=(count, dimension)) + 0.5, copies, axis=0)
    embeddings = meaning + draw.normal(size=meaning.shape) * 0.2
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8).reshape(-1, 192), embeddings.astype(np.float32)


def entries_of(described: np.ndarray, rows: np.ndarray | None = None, new: np.ndarray | None = None) -> Entries:
    """All views of int8 [n, V, D], in one list."""
    count, views, dimensions = described.shape
    rows = np.arange(count) if rows is None else rows
    new = np.ones(count, bool) if new is None else new
    row = np.repeat(rows, views).astype(np.int64)
    view = np.tile(np.arange(views, dtype=np.int8), count)
    return Entries(row, view, row.astype(np.uint64), np.repeat(new, views), described.reshape(-1, dimensions))


def rows_of(pairs: pa.Table) -> set[tuple[int, int]]:
    """The rows of each pair."""
    return set(zip(pairs["row_a"].to_pylist(), pairs["row_b"].to_pylist(), strict=True))


def brute_pairs(measure: Measure, described: np.ndarray, thumbnail_threshold: float, threshold: float) -> pa.Table:
    """The pairs of int8 [n, V, D] that pass, of all views and in both directions."""
    found = []
    for a in range(len(described)):
        for b in range(a + 1, len(described)):
            one, other = measure.scores(described[a], described[b][:1]), measure.scores(described[b], described[a][:1])
            best = [max(float(left.max()), float(right.max())) for left, right in zip(one, other, strict=True)]
            if best[0] >= np.float32(thumbnail_threshold) or best[1] >= np.float32(threshold):
                found.append((a, b, *best))
    columns = list(zip(*found, strict=True)) if found else [[], [], [], []]
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, PAIRS, strict=True)], schema=PAIRS)
