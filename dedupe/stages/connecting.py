"""Connecting: edges to components, each item labelled with the smallest row of its own.

Edges in one bucket are joined there and then. Edges in several go through rounds of large-star and small-star (Kiveris
et al., "Connected Components in MapReduce and Beyond", 2014): every round at least halves how far a row is from its
label, in practice, so the number of rounds grows with the logarithm of the longest chain. What the rounds that were
planned have left is finished by one worker, who then sees the edges of stars and of few long chains.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from catalog import canonical_json, storage
from dedupe.bucketed import read_bucket, write_buckets
from dedupe.components import large_star, small_star, union_find
from dedupe.job import Layout, bucket_of

_LEAST_ROUNDS = 4


def rounds(layout: Layout) -> int:
    """Rounds that are planned: none for what fits one bucket."""
    return 0 if layout.buckets == 1 else _LEAST_ROUNDS + int(np.log2(layout.buckets))


def edges_url(layout: Layout, step: int, bucket: int) -> str:
    """Edges that a bucket hands to step `step`: two steps a round, and then `label`."""
    return layout.job.at("edges", f"{step:03d}", f"{bucket:06d}.arrow")


def write_edges(layout: Layout, step: int, bucket: int, edges: np.ndarray) -> None:
    """Stores edges for a step. Large-star needs them with both ends, small-star with the larger one."""
    low, high = edges.min(axis=1), edges.max(axis=1)
    if step % 2 == 0:
        node, other = np.concatenate([low, high]), np.concatenate([high, low])
    else:
        node, other = high, low
    table = pa.table({"node": pa.array(node.astype(np.int64)), "other": pa.array(other.astype(np.int64))})
    write_buckets(edges_url(layout, step, bucket), table, bucket_of(node, layout.buckets), layout.buckets)


def connect(layout: Layout, step: int, bucket: int) -> None:
    """One step of a round: step 0, 2, … are large-star, the others small-star."""
    done = layout.job.at("steps", f"{step:03d}", f"{bucket:06d}.json")
    if storage.exists(done):
        return
    before = _read(layout, step, bucket)
    after = large_star(before) if step % 2 == 0 else small_star(before)
    write_edges(layout, step + 1, bucket, after)
    changed = len(before) != len(after) or not np.array_equal(_sorted(before), _sorted(after))
    storage.write(done, canonical_json.dump({"changed": bool(changed)}))


def label(layout: Layout, bucket: int) -> None:
    """Stores the component of the rows of a bucket that have an edge, by stretch. Where the last round still changed
    an edge, bucket 0 does it for all of them."""
    done = layout.job.at("labels", f"{bucket:06d}.arrow")
    if storage.exists(done):
        return
    step = 2 * rounds(layout)
    if step and not _changed(layout, step - 2) and not _changed(layout, step - 1):
        edges = _read(layout, step, bucket)
        both = np.concatenate([edges, edges[:, ::-1]])
        nodes, labels = _smallest(both[np.isin(both[:, 0], edges[:, 0])])
    elif bucket == 0:
        nodes, labels = union_find(np.concatenate([_read(layout, step, each) for each in range(layout.buckets)]))
    else:
        nodes, labels = np.empty(0, np.int64), np.empty(0, np.int64)
    table = pa.table({"row": pa.array(nodes), "component": pa.array(labels)})
    write_buckets(done, table, layout.stretch_of(nodes), len(layout.stretches))


def _smallest(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each node of the edges of stars, and the smallest of itself and its neighbours."""
    nodes, places = np.unique(edges[:, 0], return_inverse=True)
    labels = nodes.copy()
    np.minimum.at(labels, places, edges[:, 1])
    return nodes, labels


def _changed(layout: Layout, step: int) -> bool:
    urls = [layout.job.at("steps", f"{step:03d}", f"{bucket:06d}.json") for bucket in range(layout.buckets)]
    return any(canonical_json.load(storage.read_bytes(url), url)["changed"] for url in urls)


def _sorted(edges: np.ndarray) -> np.ndarray:
    both = np.sort(edges, axis=1)
    return np.unique(both, axis=0)


def _read(layout: Layout, step: int, bucket: int) -> np.ndarray:
    """int64 [n, 2]: node and other, as they were handed to a step."""
    urls = [edges_url(layout, step, each) for each in range(layout.buckets)]
    table = read_bucket(urls, bucket)
    return np.stack([table["node"].to_numpy(), table["other"].to_numpy()], axis=1)
