"""Pairs of near perceptual hashes among the rows that share a key: exactly those that comparing all rows would find.

A stage sends every row to the bucket of each of its keys (`table_keys`); `join_bucket` then gives the pairs of one
bucket. A pair shares several keys and is given under one of them, so the pairs of all buckets have no repeats.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dedupe import hash_guard
from dedupe.hash_plan import HashPlan, plan_tables, table_keys, table_of
from dedupe.near_hashes import Pairs, differing_blocks, gathered, near_pairs

__all__ = ["PAIRS", "HashPlan", "join_bucket", "plan_tables", "table_keys"]

#: What `join_bucket` gives.
PAIRS = pa.schema(
    [
        pa.field("row_a", pa.int64(), nullable=False),
        pa.field("row_b", pa.int64(), nullable=False),
        pa.field("hamming", pa.uint8(), nullable=False),
        pa.field("hamming_256", pa.int16()),
        pa.field("twin", pa.bool_(), nullable=False),
    ]
)
#: Near pictures that a picture has for itself: its nearest. Without a bound, a cluster of n pictures has n^2 / 2 pairs.
NEIGHBOURS = 100
# Pairs that are held before those that are among the nearest of neither picture are let go.
_MOST_HELD = 4_000_000


def join_bucket(
    entries: pa.Table, plan: HashPlan, radius_256: int, least: float = hash_guard.LEAST_CORRELATION
) -> pa.Table:
    """The pairs of rows with near hashes among those that share a key.

    Rows of one class are one picture, and so are rows of equal hashes and thumbnail. The lowest row of a class stands
    for it; the lowest of equal pictures is paired with each of the others, and alone with near ones. Pictures whose
    hash says nothing (`hash_guard.tells`) have no pairs.

    Args:
        entries: in any order, for a row and each of its keys of this bucket: `key` uint64; `row` int64; `klass` uint64,
            equal of rows with the same pixels; `new` bool, of near pictures one needs a new row;
            `phash` uint64; `phash_256` fixed binary[32] or null; `thumbnail` fixed binary[192]. All rows that have a
            key must be given.
        plan: that the keys were made with; its radius is that of the pairs.
        radius_256: bits that the hashes of 256 bits may differ in, where both rows have one.
        least: correlation of the thumbnails (`hash_guard.agree`).

    Returns:
        A table of the schema `PAIRS`, sorted: row_a < row_b; how many bits differ; whether the two are twins, of equal
        hashes and thumbnail. Of a picture with more than 100 near ones the 100 nearest count, and those that it is
        among the 100 nearest of; a smaller radius gives exactly the nearer ones of these pairs.
    """
    pictures = _Pictures(entries)
    keys, places = pictures.entries(entries)
    near: list[tuple[np.ndarray, ...]] = []
    for a, b in gathered(_candidates(pictures, keys, places, plan)):
        near.append(pictures.verified(a, b, radius_256, least))
        if sum(len(each[0]) for each in near) > _MOST_HELD:
            near = [_nearest(near)]
    stars = pictures.stars(places[table_of(keys) == 0])
    columns = [np.concatenate(column) for column in zip(stars, *([_nearest(near)] if near else []), strict=True)]
    order = np.lexsort((columns[1], columns[0]))
    row_a, row_b, hamming, hamming_256, twin = (column[order] for column in columns)
    arrays = [row_a, row_b, hamming, pa.array(hamming_256, mask=hamming_256 < 0), twin]
    return pa.Table.from_arrays([pa.array(each) for each in arrays], schema=PAIRS)


def _nearest(found: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """The pairs that are among the nearest of either picture; of equally near ones the lower rows count."""
    columns = tuple(np.concatenate(column) for column in zip(*found, strict=True))
    a, b, hamming = columns[:3]
    node, other = np.concatenate([a, b]), np.concatenate([b, a])
    order = np.lexsort((other, np.concatenate([hamming, hamming]), node))
    begins = np.flatnonzero(np.diff(node[order], prepend=-1))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
    kept = (rank < NEIGHBOURS).reshape(2, -1).any(axis=0)
    return tuple(column[kept] for column in columns)


def _candidates(pictures: _Pictures, keys: np.ndarray, places: np.ndarray, plan: HashPlan) -> Pairs:
    """Pairs of pictures within the radius, one of them new, each once in all buckets."""
    order = np.lexsort((pictures.rows[places], keys))
    keys, places = keys[order], places[order]
    groups = np.cumsum(np.concatenate([[0], keys[1:] != keys[:-1]])) if len(keys) else np.empty(0, np.int64)
    fresh = np.bincount(groups, pictures.new[places]) > 0
    keys, places, groups = keys[fresh[groups]], places[fresh[groups]], groups[fresh[groups]]
    hashes = pictures.phash[places]
    kept, gaps = plan.kept, plan.gaps
    for a, b in near_pairs(hashes, groups, plan.radius):
        table = table_of(keys[a])
        blocks = differing_blocks(hashes[a] ^ hashes[b], _block_masks(plan))
        here = (blocks & kept[table] == 0) & (~blocks & gaps[table] == 0)
        a, b = places[a[here]], places[b[here]]
        wanted = pictures.new[a] | pictures.new[b]
        yield a[wanted], b[wanted]


def _block_masks(plan: HashPlan) -> np.ndarray:
    """uint64 [blocks]: the bits of each block."""
    masks = [sum(1 << (63 - bit) for bit in range(block, 64, plan.blocks)) for block in range(plan.blocks)]
    return np.array(masks, np.uint64)


class _Pictures:
    """The different pictures of a bucket. A picture is known by its place.

    Attributes:
        rows: int64 [n], the lowest row of each.
        new: bool [n], whether any row of it is.
        phash: uint64 [n].
    """

    def __init__(self, entries: pa.Table) -> None:
        rows, first = np.unique(_numbers(entries["row"]), return_index=True)
        table = entries.select(["klass", "new", "phash", "phash_256", "thumbnail"]).take(pa.array(first))
        thumbnails = _bytes(table["thumbnail"], hash_guard.VALUES)
        means = hash_guard.tells(thumbnails)
        rows, table, thumbnails = rows[means], table.filter(pa.array(means)), thumbnails[means]
        # The lowest row of each class, `unique` gives the first.
        _, lowest, klass = np.unique(_numbers(table["klass"]), return_index=True, return_inverse=True)
        new = np.zeros(len(lowest), np.bool_)
        np.logical_or.at(new, klass, _numbers(table["new"]))
        kept = np.sort(lowest)
        new = new[np.argsort(lowest)]
        self._class_rows, self._class_new = rows[kept], new
        table, thumbnails = table.take(pa.array(kept)), thumbnails[kept]
        phash = _numbers(table["phash"])
        self._has_256 = np.asarray(table["phash_256"].is_valid())
        hash_256 = _bytes(table["phash_256"].fill_null(bytes(32)), 32)
        signature = np.concatenate(
            [phash.view(np.uint8).reshape(-1, 8), self._has_256[:, None].astype(np.uint8), hash_256, thumbnails], axis=1
        )
        # Numbers are dealt as signatures come, so they ascend with the lowest row of each.
        buffers = [None, pa.py_buffer(np.ascontiguousarray(signature))]
        values = pa.Array.from_buffers(pa.binary(signature.shape[1]), len(signature), buffers)
        self._owner = values.dictionary_encode().indices.to_numpy()
        _, first = np.unique(self._owner, return_index=True)
        self.rows, self.phash = self._class_rows[first], phash[first]
        self._has_256, self._hash_256 = self._has_256[first], hash_256[first].view(np.uint64)
        self._thumbnails = thumbnails[first]
        self.new = np.zeros(len(first), np.bool_)
        np.logical_or.at(self.new, self._owner, self._class_new)

    def entries(self, entries: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """uint64 [m] keys and int64 [m] places: the entries of the lowest row of each picture."""
        keys, rows = _numbers(entries["key"]), _numbers(entries["row"])
        places = np.searchsorted(self.rows, rows)
        mine = places < len(self.rows)
        mine[mine] = self.rows[places[mine]] == rows[mine]
        return keys[mine], places[mine]

    def stars(self, places: np.ndarray) -> tuple[np.ndarray, ...]:
        """The columns of the pairs of equal pictures, of the pictures at these places."""
        mine = np.zeros(len(self.rows), np.bool_)
        mine[places] = True
        _, first = np.unique(self._owner, return_index=True)
        lowest = first[self._owner]
        others = mine[self._owner] & (lowest != np.arange(len(lowest)))
        apart = np.where(self._has_256[self._owner[others]], 0, -1).astype(np.int16)
        a, b = self._class_rows[lowest[others]], self._class_rows[others]
        return a, b, np.zeros(len(a), np.uint8), apart, np.ones(len(a), np.bool_)

    def verified(self, a: np.ndarray, b: np.ndarray, radius_256: int, least: float) -> tuple[np.ndarray, ...]:
        """The columns of those pairs of places that the longer hash and the thumbnails do not contradict."""
        both = self._has_256[a] & self._has_256[b]
        apart = np.bitwise_count(self._hash_256[a] ^ self._hash_256[b]).sum(axis=1, dtype=np.int16)
        apart = np.where(both, apart, np.int16(-1))
        near = apart <= radius_256
        a, b, apart = a[near], b[near], apart[near]
        alike = hash_guard.agree(self._thumbnails[a], self._thumbnails[b], least)
        a, b, apart = a[alike], b[alike], apart[alike]
        first, second = np.minimum(self.rows[a], self.rows[b]), np.maximum(self.rows[a], self.rows[b])
        hamming = np.bitwise_count(self.phash[a] ^ self.phash[b])
        return first, second, hamming, apart, np.zeros(len(a), np.bool_)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return column.to_numpy()


def _bytes(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """uint8 [n, width] of a column of fixed binaries without nulls."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    if not len(array):
        return np.empty((0, width), np.uint8)
    data = np.frombuffer(array.buffers()[1], np.uint8)
    return data[array.offset * width : (array.offset + len(array)) * width].reshape(-1, width)
