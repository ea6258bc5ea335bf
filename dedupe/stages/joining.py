"""Joining: what shares a bucket to pairs. Three kinds of buckets: exact classes, perceptual hashes, lists."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from catalog import storage
from dedupe.bucketed import read_bucket, write_buckets
from dedupe.exact import class_stars
from dedupe.items import bytes_of
from dedupe.job import Layout, bucket_of
from dedupe.list_entries import Entries
from dedupe.list_join import JoinOptions, join_list
from dedupe.multi_index import join_bucket
from dedupe.scoring import Scoring
from dedupe.stages.describing import hash_plan
from dedupe.stages.spreading import chunk_url, chunks_of, list_units
from index_builder.threads import in_threads

#: Pairs as they are found; what a kind does not measure is null.
PAIRS = pa.schema(
    [
        ("row_a", pa.int64()),
        ("row_b", pa.int64()),
        ("exact", pa.int8()),
        ("hamming", pa.int16()),
        ("hamming_256", pa.int16()),
        ("twin", pa.bool_()),
        ("thumbnail", pa.float32()),
        ("combined", pa.float32()),
    ]
)


def join_classes(layout: Layout, bucket: int) -> None:
    """Items with one content or pixel hash to the edges of stars, and to marks of placeholders."""
    done = layout.job.at("classed", f"{bucket:06d}.arrow")
    if storage.exists(done):
        return
    urls = [layout.job.at("classes", f"{stretch.number:06d}.arrow") for stretch in layout.stretches]
    edges, marks = class_stars(read_bucket(urls, bucket), layout.job.settings)
    owners = layout.stretch_of(marks["row"].to_numpy())
    write_buckets(layout.job.at("marks", f"{bucket:06d}.arrow"), marks, owners, len(layout.stretches))
    write_pairs(layout, done, edges)


def join_hashes(layout: Layout, bucket: int) -> None:
    """Items with part of a perceptual hash in common to pairs within the radius."""
    done = layout.job.found_at(f"hashes-{bucket:06d}.arrow")
    if storage.exists(done):
        return
    urls = [layout.job.at("hashes", f"{stretch.number:06d}.arrow") for stretch in layout.stretches]
    pairs = join_bucket(read_bucket(urls, bucket), hash_plan(layout), layout.job.settings.phash_256_radius)
    write_pairs(layout, done, pairs)


def join_lists(layout: Layout, unit: int, scoring: Scoring) -> None:
    """The pictures of some lists to pairs over the thresholds."""
    done = layout.job.found_at(f"lists-{unit:06d}.arrow")
    if storage.exists(done):
        return
    urls = [chunk_url(layout, each, number) for each in layout.stretches for number in range(chunks_of(each))]
    table = read_bucket(urls, unit)
    settings = layout.job.settings
    lists = table["list"].to_numpy()
    order = np.argsort(lists, kind="stable")
    ends = np.flatnonzero(np.diff(lists[order], append=-1)) + 1
    entries = _entries(table)

    def join(places: np.ndarray) -> pa.Table:
        options = JoinOptions(scoring)
        return _filled(join_list(entries.take(places), settings.thumbnail_threshold, settings.threshold, options))

    # A list without anything new has no pair to look for.
    some = (each for each in np.split(order, ends[:-1]) if entries.new[each].any())
    found = [PAIRS.empty_table(), *in_threads(join, some)]
    write_pairs(layout, done, pa.concat_tables(found))


def _entries(table: pa.Table) -> Entries:
    width = table.schema.field("descriptor").type.byte_width
    return Entries(
        descriptor=bytes_of(table["descriptor"], width).view(np.int8),
        **{name: table[name].to_numpy() for name in ("row", "view", "klass", "new", "order", "offset")},
    )


def found_urls(layout: Layout) -> list[str]:
    """All files of pairs that a job judges."""
    classes = [layout.job.at("classed", f"{each:06d}.arrow") for each in range(layout.buckets)]
    recalled = range(layout.buckets if layout.job.earlier is not None else 0)
    return [
        *(classes if looks_for(layout, "classes") else []),
        *kept_urls(layout),
        *(recalled_url(layout, bucket) for bucket in recalled),
    ]


def kept_urls(layout: Layout) -> list[str]:
    """Those of them that stay with a report: what does not depend on what is decided about items."""
    kinds = {"hashes": layout.buckets, "lists": list_units(layout)}
    wanted = [kind for kind in kinds if looks_for(layout, kind)]
    return [layout.job.found_at(f"{kind}-{each:06d}.arrow") for kind in wanted for each in range(kinds[kind])]


def recalled_url(layout: Layout, bucket: int) -> str:
    """Where pairs are that an earlier report found."""
    return layout.job.at("recalled", f"{bucket:06d}.arrow")


def looks_for(layout: Layout, kind: str) -> bool:
    """Whether the settings ask for a kind of buckets."""
    settings = layout.job.settings
    tiers = {"classes": ("bytes", "pixels"), "hashes": ("phash",), "lists": ("thumbnail", "embedding")}[kind]
    return any(tier in settings.tiers for tier in tiers)


def write_pairs(layout: Layout, url: str, pairs: pa.Table) -> None:
    """Stores pairs, shared out by their lower row, so that all that was found of one comes together."""
    whole = _filled(pairs)
    write_buckets(url, whole, bucket_of(whole["row_a"].to_numpy(), layout.buckets), layout.buckets)


def _filled(pairs: pa.Table) -> pa.Table:
    columns = {
        field.name: pairs[field.name].cast(field.type)
        if field.name in pairs.column_names
        else pa.nulls(len(pairs), field.type)
        for field in PAIRS
    }
    return pa.table(columns, schema=PAIRS)
