"""Item to partition by a stable 64-bit hash of the item id; the unit of work, retry, resume and delta."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xxhash

from catalog.errors import UsageError

_FEWEST = 16  # A few per worker on a laptop, and a kill loses at most a sixteenth of a small job.
_ITEMS_WHEN_SMALL = 4_096  # Up to about four million items: many small partitions, so that workers stay busy.
_MANY = 1_024
_MOST = 1 << 20
_ITEMS_AT_MOST = 32_768  # Beyond: fewer, larger files.


def item_hash(item_id: str, seed: int = 0) -> int:
    """xxh3-64 of the UTF-8 item id: the same on every machine and in every process."""
    return xxhash.xxh3_64_intdigest(item_id.encode(), seed)


def item_hashes(item_ids: Iterable[str], seed: int = 0) -> np.ndarray:
    """uint64 [n] of `item_hash`."""
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter((digest(item_id.encode(), seed) for item_id in item_ids), np.uint64)


def partitions_of(item_ids: Iterable[str], partitions: int) -> np.ndarray:
    """int64 [n]: each item's partition. With twice the partitions, p splits into p and p + `partitions`."""
    return (item_hashes(item_ids) & np.uint64(partitions - 1)).astype(np.int64)


def default_partitions(rows: int) -> int:
    """The number of partitions for a catalog of `rows` items: a function of nothing else, so results never depend on
    the machine that ran them."""
    wanted = max(_FEWEST, min(_MANY, rows // _ITEMS_WHEN_SMALL), -(-rows // _ITEMS_AT_MOST))
    return 1 << (wanted - 1).bit_length()


def check_partitions(partitions: int) -> int:
    """`partitions` if it is a power of two. Raises UsageError."""
    if not 1 <= partitions <= _MOST or partitions & (partitions - 1):
        raise UsageError(f"--partitions {partitions} is not a power of two from 1 to {_MOST:,}")
    return partitions
