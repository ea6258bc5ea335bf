"""Hashes of pixels that were read again: of whole pictures, where an encoder decodes large ones reduced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa

from catalog import storage
from dedupe.bucketed import read_bucket, write_buckets
from dedupe.items import SIGNATURES, read_items
from dedupe.job import Layout, Stretch

_HASH = SIGNATURES["pixel_hash"]


def partitions_of(layout: Layout) -> list[tuple[int, int]]:
    """The units of verifying: the number of a stretch, and a partition of it."""
    return [(each.number, partition) for each in layout.stretches for partition in range(each.first, each.last)]


def verify(layout: Layout, unit: tuple[int, int], hash_all: Callable[[Iterable[str]], Iterable[bytes | None]]) -> None:
    """Reads the images of a partition again and stores the hashes of their pixels.

    Args:
        layout: of the job.
        unit: which partition.
        hash_all: the hash of each image by its location, 16 bytes, in order; None for one that cannot be read.
    """
    number, partition = unit
    url = pixels_url(layout, number, partition)
    if storage.exists(url):
        return
    whole = layout.stretches[number]
    single = Stretch(number, whole.source, partition, partition + 1, 0, 0)
    tables = [table["image_uri"] for table in read_items(layout, single, ["image_uri"])]
    uris = [uri for column in tables for uri in column.to_pylist()]
    hashes = list(hash_all(uri for uri in uris if uri is not None))
    found = iter(hashes)
    column = pa.array([None if uri is None else next(found) for uri in uris], _HASH)
    write_buckets(url, pa.table({"pixel_hash": column}), np.zeros(len(column), np.int64), 1)


def verified(layout: Layout, stretch: Stretch) -> pa.Array:
    """The hashes of a stretch in the order of its rows, null where an image could not be read."""
    urls = [pixels_url(layout, stretch.number, partition) for partition in range(stretch.first, stretch.last)]
    column = read_bucket(urls, 0)["pixel_hash"]
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], _HASH)


def pixels_url(layout: Layout, number: int, partition: int) -> str:
    """Where the hashes of a partition are. They stay with the report: images are not read again for other settings."""
    return layout.job.found_at(f"pixels-{number:06d}-{partition:06d}.arrow")


def in_pieces(uris: Iterable[str], size: int) -> Iterator[list[str]]:
    """Locations, `size` at a time."""
    piece: list[str] = []
    for uri in uris:
        piece.append(uri)
        if len(piece) == size:
            yield piece
            piece = []
    if piece:
        yield piece
