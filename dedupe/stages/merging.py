"""Merging: all that was found of a pair to the tier that takes it, and pairs to the edges that connect components."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import storage
from dedupe.bucketed import read_bucket, write_buckets
from dedupe.components import contract
from dedupe.earlier import pairs_url
from dedupe.job import Layout
from dedupe.settings import Found, Settings, accept
from dedupe.stages.connecting import edges_url, write_edges
from dedupe.stages.joining import PAIRS

#: Pairs that a tier takes.
ACCEPTED = pa.schema([*PAIRS, pa.field("tier", pa.int8()), pa.field("score", pa.float32())])


def merge(layout: Layout, found: list[str], bucket: int) -> None:
    """Stores the accepted pairs of a bucket by the stretch of their lower row, and their edges.

    Args:
        layout: of the job.
        found: the files of pairs.
        bucket: which of their buckets.
    """
    done = pairs_url(layout.job, bucket)
    if storage.exists(done) and storage.exists(edges_url(layout, 0, bucket)):  # Only the pairs outlive the work.
        return
    settings = layout.job.settings
    # What was found with looser bounds and fails these would not have been found: it must not lend a number.
    pairs = judged(combined(judged(read_bucket(found, bucket), settings).select(PAIRS.names)), settings)
    edges = np.stack([pairs["row_a"].to_numpy(), pairs["row_b"].to_numpy()], axis=1)
    write_edges(layout, 0, bucket, contract(edges))
    write_buckets(done, pairs, layout.stretch_of(pairs["row_a"].to_numpy()), len(layout.stretches))


def combined(pairs: pa.Table) -> pa.Table:
    """Each pair once: what tells them most alike, of whatever found them."""
    if not len(pairs):
        return PAIRS.empty_table()
    least, most = ("exact", "hamming", "hamming_256"), ("twin", "thumbnail", "combined")
    measured = [*((name, "min") for name in least), *((name, "max") for name in most)]
    grouped = pairs.group_by(["row_a", "row_b"], use_threads=False).aggregate(measured)
    renamed = {f"{name}_{how}": name for name, how in measured}
    whole = grouped.rename_columns([renamed.get(name, name) for name in grouped.column_names])
    return whole.select(PAIRS.names).cast(PAIRS).sort_by([("row_a", "ascending"), ("row_b", "ascending")])


def judged(pairs: pa.Table, settings: Settings) -> pa.Table:
    """The pairs that a tier takes, with `tier` and `score`. A score below its bound becomes null: which of those are
    measured, and of how many views, follows from the bounds that pairs were looked for with."""
    found = Found(
        exact=_filled(pairs["exact"], -1),
        hamming=_filled(pairs["hamming"], -1),
        hamming_256=_filled(pairs["hamming_256"], -1),
        thumbnail=_filled(pairs["thumbnail"], np.nan),
        combined=_filled(pairs["combined"], np.nan),
    )
    tier, score = accept(found, settings)
    whole = pairs
    for name, bound in (("thumbnail", settings.thumbnail_threshold), ("combined", settings.threshold)):
        reached = pc.if_else(
            pc.greater_equal(pairs[name], np.float32(bound)), pairs[name], pa.scalar(None, pa.float32())
        )
        whole = whole.set_column(whole.column_names.index(name), name, reached)
    whole = whole.append_column("tier", pa.array(tier)).append_column("score", pa.array(score))
    return whole.filter(pa.array(tier >= 0)).cast(ACCEPTED)


def _filled(column: pa.ChunkedArray, missing: float) -> np.ndarray:
    return column.fill_null(missing).to_numpy()
