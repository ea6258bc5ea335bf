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
from dedupe.components import both_ways, is_star_forest, large_star, small_star, union_find
from dedupe.job import Layout, bucket_of

_LEAST_ROUNDS = 4


def rounds(layout: Layout) -> int:
    """Rounds that are planned: none for what fits one bucket."""
    return 0 if layout.buckets == 1 else _LEAST_ROUNDS + int(np.log2(layout.buckets))


def edges_url(layout: Layout, step: int, bucket: int) -> str:
    """Edges that a bucket hands to step `step`: two steps a round, and then `label`."""
    return layout.job.at("edges", f"{step:03d}", f"{bucket:06d}.arrow")


def write_edges(layout: Layout, step: int, bucket: int, edges: np.ndarray) -> None:
    """Stores edges for a step: for large-star under both ends, for small-star under the larger one."""
    sent = both_ways(edges) if step % 2 == 0 else edges
    table = pa.table({"node": pa.array(sent[:, 0]), "other": pa.array(sent[:, 1])})
    write_buckets(edges_url(layout, step, bucket), table, bucket_of(sent[:, 0], layout.buckets), layout.buckets)


def connect(layout: Layout, step: int, bucket: int) -> None:
    """One step of a round: step 0, 2, … are large-star, the others small-star."""
    if not storage.exists(edges_url(layout, step + 1, bucket)):
        edges = _read(layout, step, bucket)
        write_edges(layout, step + 1, bucket, large_star(edges) if step % 2 == 0 else small_star(edges))


def check(layout: Layout, bucket: int) -> None:
    """Stores whether the edges of a bucket are those of stars after the last round."""
    url = _checked_url(layout, bucket)
    if not storage.exists(url):
        settled = is_star_forest(_read(layout, 2 * rounds(layout), bucket))
        storage.write(url, canonical_json.dump({"stars": bool(settled)}))


def label(layout: Layout, bucket: int) -> None:
    """Stores the component of the rows of a bucket that have an edge, by stretch. Where the last round has left more
    than stars, bucket 0 does it for all."""
    done = layout.job.at("labels", f"{bucket:06d}.arrow")
    if storage.exists(done):
        return
    nodes, labels = np.empty(0, np.int64), np.empty(0, np.int64)
    step = 2 * rounds(layout)
    if step and _all_stars(layout):
        nodes, labels = union_find(_read(layout, step, bucket))
        mine = bucket_of(nodes, layout.buckets) == bucket
        nodes, labels = nodes[mine], labels[mine]
    elif bucket == 0:
        nodes, labels = union_find(np.concatenate([_read(layout, step, each) for each in range(layout.buckets)]))
    table = pa.table({"row": pa.array(nodes), "component": pa.array(labels)})
    write_buckets(done, table, layout.stretch_of(nodes), len(layout.stretches))


def _checked_url(layout: Layout, bucket: int) -> str:
    return layout.job.at("stars", f"{bucket:06d}.json")


def _all_stars(layout: Layout) -> bool:
    urls = [_checked_url(layout, bucket) for bucket in range(layout.buckets)]
    return all(canonical_json.load(storage.read_bytes(url), url)["stars"] for url in urls)


def _read(layout: Layout, step: int, bucket: int) -> np.ndarray:
    """int64 [n, 2]: node and other, as they were handed to a step."""
    urls = [edges_url(layout, step, each) for each in range(layout.buckets)]
    table = read_bucket(urls, bucket)
    return np.stack([table["node"].to_numpy(), table["other"].to_numpy()], axis=1)
