"""Which items came, went or changed between two versions: a partition at a time, in the memory of one.

Partitions are powers of two of the hash of the item id. Where one version has more of them, several of its partitions
hold the items of one of the other's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import storage
from catalog.errors import IntegrityError
from catalog.manifest import Manifest, version_folder
from index_builder.publishing.verify import verified_copy
from index_builder.searching.items import Items
from index_builder.searching.searcher import Searcher
from index_builder.searching.vector_file import StoredVectors

# Vectors that are compared at a time.
_VECTORS_AT_ONCE = 16_384
Tell = Callable[[str, Sequence[str]], None]


@dataclass(frozen=True)
class ItemChanges:
    """How many items are in one version only, and in both.

    Attributes:
        added: in the later version only.
        removed: in the earlier version only.
        both: in both.
        changed: of those in both, the ones with another vector; None where vectors cannot be compared.
        compared: how vectors were compared, or why not.
    """

    added: int
    removed: int
    both: int
    changed: int | None
    compared: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare_items(
    root: str, before: Manifest, after: Manifest, tell: Tell = lambda kind, item_ids: None
) -> ItemChanges:
    """Compares the items of two versions.

    Args:
        root: URL of ARTIFACTS/<name>. What is not on a local disk is downloaded first, every byte verified.
        before: one version.
        after: the other.
        tell: is given `added`, `removed` or `changed` with item ids, some at a time.

    Raises:
        IntegrityError: a file is not what was published.
    """
    with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as scratch:
        sides = [_Side(root, manifest, Path(scratch) / side) for side, manifest in (("0", before), ("1", after))]
        why = why_not_compared(before, after)
        vectors = [side.vectors() for side in sides] if not why else []
        counts = {"added": 0, "removed": 0, "both": 0, "changed": 0}

        def count(kind: str, item_ids: pa.Array) -> None:
            counts[kind] += len(item_ids)
            if kind != "both" and len(item_ids):
                tell(kind, item_ids.to_pylist())

        fewest = min(side.partitions for side in sides)
        for partition in range(fewest):
            (ours, our_rows), (theirs, their_rows) = (side.partition(partition, fewest) for side in sides)
            place = _places(ours, theirs)
            count("removed", ours.filter(pa.array(place < 0)))
            known = np.zeros(len(theirs), bool)
            known[place[place >= 0]] = True
            count("added", theirs.filter(pa.array(~known)))
            both = np.flatnonzero(place >= 0)
            count("both", ours.take(pa.array(both)))
            if vectors:
                other = _differ(vectors, our_rows[both], their_rows[place[both]])
                count("changed", ours.take(pa.array(both[other])))
    how = why or "vectors of both are compared as the coarser of them is stored"
    return ItemChanges(counts["added"], counts["removed"], counts["both"], None if why else counts["changed"], how)


def why_not_compared(before: Manifest, after: Manifest) -> str:
    """Why the vectors of two versions cannot be compared; "" where they can."""
    if before.encoder.fingerprint != after.encoder.fingerprint:
        return "vectors are not compared: the encoders differ, so every vector does"
    if before.metric != after.metric:
        return f"vectors are not compared: one version has them as for {before.metric}, the other as for {after.metric}"
    for manifest in (before, after):
        if not manifest.file("vectors") and manifest.index.get("factory") != "Flat":
            return f"vectors are not compared: version {manifest.version} keeps none"
    return ""


class _Side:
    """The local files of a version."""

    def __init__(self, root: str, manifest: Manifest, scratch: Path) -> None:
        self._root, self._manifest, self._scratch = root, manifest, scratch
        scratch.mkdir()
        self._items = Items(self._local("items"))
        self._offsets = np.append(self._items.partition_starts, len(self._items))
        self.partitions = len(self._offsets) - 1

    def _local(self, role: str) -> list[Path]:
        folder = version_folder(self._root, self._manifest.version)
        return [
            verified_copy(storage.join(folder, entry.path), entry, self._manifest.version, self._scratch)
            for entry in self._manifest.files_of(role)
        ]

    def vectors(self) -> StoredVectors:
        paths = self._local("vectors")
        if paths:
            return StoredVectors.open(paths)
        self._searcher = Searcher(self._local("index"), [], self._manifest.metric)  # Which owns what is returned.
        if self._searcher.stored is None:
            raise IntegrityError(f"version {self._manifest.version} has a Flat index without vectors")
        return self._searcher.stored

    def partition(self, number: int, of: int) -> tuple[pa.Array, np.ndarray]:
        """The item ids of a partition, of `of`, and int64 [n] the row of each."""
        ids, rows = [], []
        for each in range(number, self.partitions, of):
            first, last = int(self._offsets[each]), int(self._offsets[each + 1])
            ids.append(self._items.ids(first, last))
            rows.append(np.arange(first, last))
        return pa.concat_arrays(ids), np.concatenate(rows)


def _places(ours: pa.Array, theirs: pa.Array) -> np.ndarray:
    """int64 [n]: where each of our ids is among theirs, -1 where it is not."""
    there = {item_id: place for place, item_id in enumerate(theirs.to_pylist())}
    return np.fromiter((there.get(item_id, -1) for item_id in ours.to_pylist()), np.int64, len(ours))


def _differ(vectors: Sequence[StoredVectors], ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """bool [n]: whether the vectors of rows `ours` of the first and `theirs` of the second version differ."""
    coarser = min((side.dtype for side in vectors), key=lambda dtype: dtype.itemsize)
    differ = np.zeros(len(ours), bool)
    for start in range(0, len(ours), _VECTORS_AT_ONCE):
        block = slice(start, start + _VECTORS_AT_ONCE)
        one, other = (
            _take(side, rows[block]).astype(coarser) for side, rows in zip(vectors, (ours, theirs), strict=True)
        )
        differ[block] = (one != other).any(axis=1)
    return differ


def _take(vectors: StoredVectors, rows: np.ndarray) -> np.ndarray:
    """float32 [n, d] of rows in any order."""
    order = np.argsort(rows, kind="stable")
    taken = np.empty((len(rows), vectors.dimension), np.float32)
    taken[order] = vectors.take(rows[order])
    return taken
