"""Showing: the files of a report to its gallery."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog import storage
from catalog.rejects import read_rejects
from dedupe.gallery.contents import GalleryContents
from dedupe.gallery.write_gallery import write_gallery
from dedupe.job import Layout
from dedupe.settings import EMBEDDING, PHASH, THUMBNAIL, TIERS, Settings

_MOST_UNCERTAIN = 1_000
_SHOWN = ("image_uri", "thumbnail")
_Item = tuple[str | None, str]


@dataclass(frozen=True)
class Pictures:
    """Where the pictures of a gallery come from.

    Attributes:
        most: images that are read.
        read: small WebP or JPEG files by the locations of images, without those that cannot be read.
    """

    most: int
    read: Callable[[Sequence[str]], Mapping[str, bytes]]


def show(layout: Layout, summary: dict[str, Any], pictures: Pictures) -> int:
    """Writes the gallery of a report whose files are there; returns its pages."""
    output = layout.job.output
    uncertain = _uncertain(layout)
    small = pictures.read(_first_images(output, uncertain, pictures.most))
    contents = GalleryContents(
        summary={**summary, "rows": summary["items"] + summary["unreadable"]},
        groups=lambda: _batches(storage.join(output, "groups.parquet")),
        uncertain=uncertain,
        placeholders=_placeholders(storage.join(output, "placeholders.parquet")),
        conflicts=_conflicts(storage.join(output, "conflicts.parquet")),
        picture=small.get,
        unreadable=_unreadable(layout),
    )
    return write_gallery(output, contents)


def _first_images(output: str, uncertain: Sequence[Mapping[str, Any]], most: int) -> list[str]:
    """The images that a reader meets first, at most so many: of placeholders, of pairs to review, of groups."""
    placeholders = (row["image_uri"] for row in _placeholders(storage.join(output, "placeholders.parquet")))
    pairs = (row[name] for row in uncertain for name in ("image_uri", "other_image_uri"))
    groups = (
        uri for batch in _batches(storage.join(output, "groups.parquet")) for uri in batch["image_uri"].to_pylist()
    )
    found: dict[str, None] = {}
    for uri in itertools.chain(itertools.islice(placeholders, most // 4), itertools.islice(pairs, most // 2), groups):
        if len(found) >= most:
            break
        if uri is not None:
            found[uri] = None
    return list(found)


def _batches(url: str) -> Iterator[pa.RecordBatch]:
    with storage.open_read(url) as handle:
        yield from pq.ParquetFile(handle, page_checksum_verification=True).iter_batches(8_192)


def _uncertain(layout: Layout) -> list[dict[str, Any]]:
    """The pairs that are nearest to the bound of their tier, those first, with what is shown of both items."""
    output = layout.job.output
    nearest: list[tuple[float, str, str, int, dict[str, Any]]] = []
    for batch in _batches(storage.join(output, "pairs.parquet")):
        margins = margin(batch["tier"].to_pylist(), batch["score"].to_numpy(), layout.job.settings)
        chosen = np.flatnonzero(np.isfinite(margins))
        rows = batch.take(pa.array(chosen)).to_pylist()
        keyed = [
            (float(value), row["item_id"], row["other_item_id"], number, row)
            for number, (value, row) in enumerate(zip(margins[chosen].tolist(), rows, strict=True), len(nearest))
        ]
        nearest = heapq.nsmallest(_MOST_UNCERTAIN, [*nearest, *keyed])
    pairs = [each[-1] for each in nearest]
    wanted = {
        item
        for row in pairs
        for item in ((row["dataset"], row["item_id"]), (row["other_dataset"], row["other_item_id"]))
    }
    known = _shown(storage.join(output, "groups.parquet"), wanted)
    nothing = dict.fromkeys(_SHOWN)
    for row in pairs:
        one = known.get((row["dataset"], row["item_id"]), nothing)
        other = known.get((row["other_dataset"], row["other_item_id"]), nothing)
        row.update(one, **{f"other_{name}": value for name, value in other.items()})
    return pairs


def margin(tiers: list[str], scores: np.ndarray, settings: Settings) -> np.ndarray:
    """float64 [n]: how far each score is above the bound of its tier, as a share of what there is above it; infinite
    for exact tiers, which are certain."""
    least = {
        TIERS[PHASH]: 1 - settings.phash_radius / 64,
        TIERS[THUMBNAIL]: settings.thumbnail_threshold,
        TIERS[EMBEDDING]: settings.threshold,
    }
    bounds = np.array([least.get(tier, np.nan) for tier in tiers], np.float64)
    over = (scores.astype(np.float64) - bounds) / np.maximum(1 - bounds, 1e-9)
    return np.where(np.isnan(bounds), np.inf, over)


def _shown(url: str, wanted: set[_Item]) -> dict[_Item, dict[str, Any]]:
    """What is shown of those items that are in groups."""
    found: dict[_Item, dict[str, Any]] = {}
    for batch in _batches(url):
        for row in batch.select(["dataset", "item_id", *_SHOWN]).to_pylist():
            item = (row["dataset"], row["item_id"])
            if item in wanted:
                found[item] = {name: row[name] for name in _SHOWN}
    return found


def _placeholders(url: str) -> Iterator[dict[str, Any]]:
    for batch in _batches(url):
        for row in batch.to_pylist():
            yield {**row, "products": len(row["products"]), "group_values": len(row["group_values"])}


def _conflicts(url: str) -> Iterator[dict[str, Any]]:
    """A row for each group."""
    current: dict[str, Any] | None = None
    for batch in _batches(url):
        for row in batch.to_pylist():
            if current is None or current["group_id"] != row["group_id"]:
                if current is not None:
                    yield current
                current = {"group_id": row["group_id"], "labels": [], "items": 0}
            current["labels"].append(row["label"])
            current["items"] += row["items"]
    if current is not None:
        yield current


def _unreadable(layout: Layout) -> Iterator[dict[str, Any]]:
    for source, snapshot in zip(layout.job.sources, layout.snapshots, strict=True):
        for entry in snapshot.rejects:
            yield from read_rejects(storage.join(source.store, entry.path)).to_pylist()
