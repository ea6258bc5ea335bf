"""Spreading: the pictures of a stretch to the lists that they are compared in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from catalog import storage
from dedupe.bucketed import write_buckets
from dedupe.items import read_vectors, thumbnails_of
from dedupe.job import Layout, Stretch
from dedupe.lists import NO_LIST, VIEW_PROBES, Lists
from dedupe.measure import Measure
from dedupe.members import read_members
from dedupe.news import is_new
from dedupe.placeholders import nearly_empty
from dedupe.stages.describing import compared_words

# Rows whose descriptors, a dozen each, are one file.
_CHUNK_ROWS = 32_768
# Descriptors that are compared in one unit.
_UNIT_ENTRIES = 1 << 20


def chunks_of(stretch: Stretch) -> int:
    """Files that a stretch is spread to."""
    return max(1, -(-stretch.rows // _CHUNK_ROWS))


def list_units(layout: Layout) -> int:
    """Units that compare lists. More than there are lists does no harm."""
    return max(1, -(-layout.rows * (layout.job.settings.probes + 8 * VIEW_PROBES) // _UNIT_ENTRIES))


def spread(layout: Layout, stretch: Stretch, measure: Measure, lists: Lists) -> None:
    """Stores a stretch's descriptors by list."""
    job = layout.job
    if storage.exists(chunk_url(layout, stretch, chunks_of(stretch) - 1)):
        return
    members = read_members(layout, stretch)
    compared, words, new = members.compared, compared_words(members, job.settings), is_new(layout, stretch)
    preference = members.preference()
    done = 0
    for number, (thumbnails, vectors) in enumerate(_chunks(layout, stretch)):
        rows = slice(done, done + len(vectors))
        done += len(vectors)
        chosen = compared[rows].copy()
        if thumbnails is not None:
            chosen &= ~nearly_empty(thumbnails)
        places = np.flatnonzero(chosen)
        descriptors = measure.describe(None if thumbnails is None else thumbnails[places], vectors[places])
        table = _entries(
            descriptors,
            {
                "row": members.row[rows][places],
                "klass": words[rows][places],
                "new": new[rows][places],
                "order": preference[rows][places],
                "offset": measure.offsets(descriptors[:, 0]),
            },
            lists,
            job.settings.probes,
        )
        unit = table["list"].to_numpy().astype(np.int64) * list_units(layout) // len(lists.centroids)
        write_buckets(chunk_url(layout, stretch, number), table, unit, list_units(layout))


def chunk_url(layout: Layout, stretch: Stretch, number: int) -> str:
    """Where a chunk of a stretch is."""
    return layout.job.at("lists", f"{stretch.number:06d}-{number:03d}.arrow")


def _chunks(layout: Layout, stretch: Stretch) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
    """Thumbnails, or None where there are none, and vectors, `_CHUNK_ROWS` at a time."""
    thumbnails: list[np.ndarray] = []
    vectors: list[np.ndarray] = []
    pictured, held = True, 0
    for table, block in read_vectors(layout, stretch):
        pictured = pictured and not table["thumbnail"].null_count
        thumbnails.append(thumbnails_of(table))
        vectors.append(block)
        held += len(block)
        while held >= _CHUNK_ROWS:
            whole, pictures = np.concatenate(vectors), np.concatenate(thumbnails)
            yield (pictures[:_CHUNK_ROWS] if pictured else None), whole[:_CHUNK_ROWS]
            thumbnails, vectors, held = [pictures[_CHUNK_ROWS:]], [whole[_CHUNK_ROWS:]], held - _CHUNK_ROWS
    if held:
        yield (np.concatenate(thumbnails) if pictured else None), np.concatenate(vectors)


def _entries(descriptors: np.ndarray, told: dict[str, np.ndarray], lists: Lists, probes: int) -> pa.Table:
    """A row for each list that a view of a picture is compared in.

    Args:
        descriptors: int8 [n, views, D].
        told: [n] each, what goes with a picture.
        lists: the lists.
        probes: lists of the picture itself; each further view is in one.
    """
    count, views, width = descriptors.shape
    homes = lists.assign(descriptors[:, 0], probes)  # int32 [n, probes]
    owner = [np.repeat(np.arange(count), homes.shape[1])]
    view = [np.zeros(homes.size, np.int8)]
    found = [homes.reshape(-1)]
    for number in range(1, views):
        places = lists.assign(descriptors[:, number], VIEW_PROBES)
        owner.append(np.repeat(np.arange(count), places.shape[1]))
        view.append(np.full(places.size, number, np.int8))
        found.append(places.reshape(-1))
    owners, numbers, places = (np.concatenate(each) for each in (owner, view, found))
    real = places != NO_LIST
    owners, numbers, places = owners[real], numbers[real], places[real]
    data = np.ascontiguousarray(descriptors[owners, numbers])
    return pa.table(
        {
            "list": pa.array(places.astype(np.int32)),
            "view": pa.array(numbers),
            **{name: pa.array(values[owners]) for name, values in told.items()},
            "descriptor": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(width), len(owners), [None, pa.py_buffer(data.tobytes())]
            ),
        }
    )
