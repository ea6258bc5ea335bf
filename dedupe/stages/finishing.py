"""Finishing: the parts that stages left to the files of a report, the summary last."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from catalog import canonical_json, storage
from catalog.rejects import read_rejects
from dedupe.bucketed import read_bucket
from dedupe.histogram import Histogram
from dedupe.job import Layout
from dedupe.named_pairs import NAMED_PAIRS
from dedupe.placeholders_table import PLACEHOLDERS, merged
from dedupe.settings import TIERS
from dedupe.stages.composing import CONFLICTS
from dedupe.stages.describing import group_sizes
from dedupe.stages.settling import DATASETS, GROUPS, LINES
from dedupe.stages.showing import show

SCHEMA_VERSION = 1
_UNREADABLE = ("item_id", "image_uri", "reason", "detail")


def finish(layout: Layout, picture: Callable[[str], bytes | None]) -> dict[str, Any]:
    """Writes the files of the report and its gallery; `summary.json` last, which makes it complete.

    Args:
        layout: of the job.
        picture: see `dedupe.stages.showing.show`.

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
    named = itertools.chain(_tables(layout, "named", buckets), _tables(layout, "copies", numbered))
    pairs = _write_parquet(layout, "pairs", NAMED_PAIRS, histogram.watch(named))
    _write_parquet(layout, "groups", GROUPS, _tables(layout, "composed", buckets))
    conflicts = _write_parquet(layout, "conflicts", CONFLICTS, _tables(layout, "conflicts", buckets))
    placeholders = merged(pa.concat_tables([PLACEHOLDERS.empty_table(), *_tables(layout, "placeholders", numbered)]))
    _write_parquet(layout, "placeholders", PLACEHOLDERS, [placeholders])
    summary = _summary(layout, pairs, len(placeholders), rejected)
    summary["score_histogram"] = histogram.to_json()
    summary["label_conflicts"] = conflicts
    show(layout, summary, picture)
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
        "by_tier": {name: tiers[name] for name in TIERS},
        "placeholders": placeholders,
        "placeholder_items": counts["placeholder_items"],
        "unreadable": rejected,
        "leakage": _leakage(layout),
        "settings": job.settings.to_json(),
        "identity": job.identity,
        **layout.to_json(),
    }


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
                sink = pa.BufferOutputStream()
                options = pa_csv.WriteOptions(include_header=False, quoting_style="needed")
                pa_csv.write_csv(named.select([*_UNREADABLE, *more]), sink, options)
                yield sink.getvalue().to_pybytes()

    _write_text(storage.join(layout.job.output, "unreadable.csv"), (*_UNREADABLE, *more), parts())
    return rows
