"""What becomes of an item, and the name of the group that it is in."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import xxhash

#: Numbers of `ROLES`; the first three as `dedupe.chain_guard` has them.
KEEPER, DROPPED, PROTECTED, ALONE, PLACEHOLDER = range(5)
ROLES = ("keeper", "dropped", "protected", "alone", "placeholder")


def group_id(dataset: str | None, item_id: str) -> str:
    """The name of the group whose kept item that is."""
    return xxhash.xxh3_128_hexdigest(f"{dataset or ''}\0{item_id}".encode())[:20]


def group_ids(datasets: Iterable[str | None], item_ids: Iterable[str]) -> pa.Array:
    """The names of groups, of their kept items."""
    return pa.array([group_id(*kept) for kept in zip(datasets, item_ids, strict=True)], pa.string())


def texts(names: tuple[str, ...], codes: np.ndarray) -> pa.Array:
    """Numbers as the names of that place; null for a negative one."""
    return pa.array(names, pa.string()).take(pa.array(codes.astype(np.int64), mask=codes < 0))
