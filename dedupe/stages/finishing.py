"""Finishing: the parts that stages left to the files of a report, the summary last."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalog import canonical_json, storage
from catalog.rejects import read_rejects
from dedupe.bucketed import read_bucket
from dedupe.calibration import read_calibration
from dedupe.csv_text import csv_text
from dedupe.earlier import write_plan
from dedupe.found import keep_found
from dedupe.histogram import Histogram
from dedupe.job import Layout
from dedupe.lines import DATASETS, LINES
from dedupe.placeholders_table import PLACEHOLDERS, merged
from dedupe.settings import TIERS
from dedupe.stages.composing import CONFLICTS, PAIRS
from dedupe.stages.describing import group_sizes, new_items
from dedupe.stages.settling import GROUPS
from dedupe.stages.showing import Pictures, show

SCHEMA_VERSION = 1
_UNREADABLE = ("item_id", "image_uri", "reason", "detail")


def finish(layout: Layout, pictures: Pictures) -> dict[str, Any]:
    """Writes the files of the report and its gallery; `summary.json` last, which makes it complete.

    Args:
        layout: of the job.
        pictures: for the gallery.

    Returns:
        The summary.
    """
    job = layout.job
    url = storage.join(job.output, "summary.json")
    stretches = [f"{stretch.number:06d}" for stretch in layout.stretches]
    more = DATASETS if len(job.sources) > 1 else ()
    for name in ("keep", "drop"):
        parts = (storage.read_bytes(job.at(name, f"{number}.csv")) for number in stretches)
        _write_text(storage.join(job.output, f"{name}.csv"), (*LINES, *more), parts)
    if job.settings.splits:
        parts = (storage.read_bytes(job.at("splits", f"{number}.csv")) for number in stretches)
        _write_text(storage.join(job.output, "splits.csv"), ("item_id", "split"), parts)
    rejected = _write_unreadable(layout)
    buckets = [f"{bucket:06d}.arrow" for bucket in range(layout.buckets)]
    histogram = Histogram()
    numbered = [f"{number}.arrow" for number in stretches]
    pairs = _write_parquet(layout, "pairs", PAIRS, histogram.watch(_tables(layout, "paired", buckets)))
    _write_parquet(layout, "groups", GROUPS, _tables(layout, "composed", buckets))
    conflicts = list(_tables(layout, "conflicts", buckets))
    _write_parquet(layout, "conflicts", CONFLICTS, conflicts)
    placeholders = merged(pa.concat_tables([PLACEHOLDERS.empty_table(), *_tables(layout, "placeholders", numbered)]))
    _write_parquet(layout, "placeholders", PLACEHOLDERS, [placeholders])
    summary = _summary(layout, pairs, len(placeholders), rejected)
    summary["score_histogram"] = histogram.to_json()
    summary["label_conflicts"] = sum(pc.count_distinct(table["group_id"]).as_py() for table in conflicts)
    show(layout, summary, pictures)
    keep_found(layout)
    write_plan(layout)
    storage.write(url, canonical_json.dump(summary))
    return summary


def _summary(layout: Layout, pairs: int, placeholders: int, rejected: int) -> dict[str, Any]:
    job = layout.job
    counts: Counter[str] = Counter()
    tiers: Counter[str] = Counter()
    for stretch in layout.stretches:
        url = job.at("settled", f"{stretch.number:06d}.json")
        found = canonical_json.load(storage.read_bytes(url), url)
        tiers.update(found.pop("by_tier"))
        found.pop("own")
        counts.update(found)
    return {
        "schema_version": SCHEMA_VERSION,
        "items": counts["items"],
        "kept": counts["items"] - counts["dropped"],
        "dropped": counts["dropped"],
        "groups": counts["groups"],
        "duplicates": counts["dropped"] + counts["protected"],
        "protected": counts["protected"],
        "pairs": pairs,
        "threshold": job.settings.threshold,
        "since": job.earlier,
        "new": new_items(layout),
        "by_tier": {name: tiers[name] for name in TIERS},
        "placeholders": placeholders,
        "placeholder_items": counts["placeholder_items"],
        "unreadable": rejected,
        "leakage": _leakage(layout),
        "calibration": _calibration(layout),
        "settings": job.settings.to_json(),
        "identity": job.identity,
        **layout.to_json(),
    }


def _calibration(layout: Layout) -> dict[str, Any] | None:
    """What the thresholds are expected to give; None where they were given and nobody measured it."""
    job = layout.job
    if job.measure is None:
        return None
    return read_calibration(job.measure).told(job.settings.threshold, job.settings.thumbnail_threshold)


def _leakage(layout: Layout) -> dict[str, Any] | None:
    """The matrix, None where items are of no groups."""
    sizes = group_sizes(layout)
    if not sizes:
        return None
    items = np.zeros((len(sizes), len(sizes)), np.int64)
    pairs = items.copy()
    for bucket in range(layout.buckets):
        url = layout.job.at("grouped", f"{bucket:06d}.json")
        found = canonical_json.load(storage.read_bytes(url), url)
        items += np.array(found["items"], np.int64).reshape(items.shape)
        pairs += np.array(found["pairs"], np.int64).reshape(items.shape)
    for stretch in layout.stretches:
        url = layout.job.at("settled", f"{stretch.number:06d}.json")
        for value, (own, between) in canonical_json.load(storage.read_bytes(url), url)["own"].items():
            place = list(sizes).index(value)
            items[place, place] += own
            pairs[place, place] += between
    column = layout.job.settings.group_column or "dataset"
    return {
        "column": column,
        "values": list(sizes),
        "items": list(sizes.values()),
        "leaking": items.tolist(),
        "pairs": pairs.tolist(),
    }


def _tables(layout: Layout, name: str, files: Iterable[str]) -> Iterator[pa.Table]:
    return (read_bucket([layout.job.at(name, file)], 0) for file in files)


def _write_parquet(layout: Layout, name: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """Writes a table, part by part; returns its rows."""
    rows = 0
    with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as scratch:
        path = Path(scratch) / name
        with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
            for table in tables:
                writer.write_table(table.cast(schema))
                rows += len(table)
        storage.put_file(path, storage.join(layout.job.output, f"{name}.parquet"))
    return rows


def _write_text(url: str, header: Iterable[str], parts: Iterable[bytes]) -> None:
    with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as scratch:
        path = Path(scratch) / "text"
        with path.open("wb") as file:
            file.write(",".join(header).encode() + b"\n")
            for part in parts:
                file.write(part)
        storage.put_file(path, url)


def _write_unreadable(layout: Layout) -> int:
    """Every reject of the snapshots, by dataset and partition; returns how many there are."""
    rows = 0
    more = ("dataset",) if len(layout.job.sources) > 1 else ()

    def parts() -> Iterator[bytes]:
        nonlocal rows
        for source, snapshot in zip(layout.job.sources, layout.snapshots, strict=True):
            for entry in snapshot.rejects:
                table = read_rejects(storage.join(source.store, entry.path))
                rows += len(table)
                named = table.append_column("dataset", pa.array([source.name] * len(table), pa.string()))
                yield csv_text(named.select([*_UNREADABLE, *more]))

    _write_text(storage.join(layout.job.output, "unreadable.csv"), (*_UNREADABLE, *more), parts())
    return rows
