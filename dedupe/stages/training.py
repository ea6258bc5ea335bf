"""Training: a sample of vectors and thumbnails to the measure that compares them, and to the lists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from catalog import storage
from catalog.partition import item_hash
from dedupe.calibration import read_calibration, read_measure
from dedupe.items import read_vectors, thumbnails_of
from dedupe.job import Layout, Stretch
from dedupe.lists import ROWS_PER_LIST, SAMPLE_PER_LIST, Lists, list_count
from dedupe.measure import Measure
from dedupe.views import DEFAULT_VIEWS, TURNED_VIEWS

# Enough for a covariance of some thousand dimensions; more where many lists are trained.
_LEAST_SAMPLED = 20_000
_MOST_SAMPLED = 4_000_000
# Pictures that scores are normalised by.
_BACKGROUND = 1_000
_BLOCK = 4_096


def train(layout: Layout) -> None:
    """Stores `measure.npz` and `lists.npz` in the report: those of an earlier report, or with the job's `measure`, or
    trained on a sample."""
    job = layout.job
    measure_url, lists_url = (storage.join(job.output, name) for name in ("measure.npz", "lists.npz"))
    if job.earlier is not None:
        for url in (measure_url, lists_url):
            storage.write(url, storage.read_bytes(storage.join(job.earlier, storage.name_of(url))))
        return
    if storage.exists(lists_url):
        return
    wanted = min(_MOST_SAMPLED, max(_LEAST_SAMPLED, layout.rows // ROWS_PER_LIST * SAMPLE_PER_LIST))
    thumbnails, vectors = sample(layout, wanted)
    if job.measure is not None:
        measure = read_measure(job.measure, read_calibration(job.measure))
    else:
        views = (*DEFAULT_VIEWS, *TURNED_VIEWS) if job.settings.turned else DEFAULT_VIEWS
        measure = Measure.fit(thumbnails, vectors, views)
    descriptors = np.concatenate(
        [
            measure.describe(None if thumbnails is None else thumbnails[rows], vectors[rows])[:, 0].copy()
            for rows in (slice(start, start + _BLOCK) for start in range(0, len(vectors), _BLOCK))
        ]
    )
    if job.measure is None and job.settings.normalization:
        measure = replace(measure, background=descriptors[:_BACKGROUND], beta=job.settings.normalization)
    lists = Lists.train(descriptors, list_count(layout.rows, len(descriptors)), measure.scoring)
    measure.save(measure_url)
    lists.save(lists_url)


def sample(layout: Layout, wanted: int) -> tuple[np.ndarray | None, np.ndarray]:
    """Whole partitions, which are random subsets of the items, until there are enough rows: the same for the same
    snapshots.

    Returns:
        uint8 [s, 192] thumbnails, None if any is missing; float32 [s, d] vectors.
    """
    thumbnails, vectors, rows = [], [], 0
    for stretch in _in_random_order(layout):
        if rows >= wanted:
            break
        for table, block in read_vectors(layout, stretch):
            if rows >= wanted:
                break
            thumbnails.append(thumbnails_of(table) if not table["thumbnail"].null_count else None)
            vectors.append(block)
            rows += len(block)
    whole = (
        None if any(each is None for each in thumbnails) else np.concatenate([t for t in thumbnails if t is not None])
    )
    return whole, np.concatenate(vectors)


def _in_random_order(layout: Layout) -> Iterator[Stretch]:
    """Every partition as a stretch of its own, in an order that hashes decide."""
    single = [
        Stretch(stretch.number, stretch.source, partition, partition + 1, 0, 0)
        for stretch in layout.stretches
        for partition in range(stretch.first, stretch.last)
    ]
    return iter(sorted(single, key=lambda each: item_hash(f"{each.source}/{each.first}", 2)))
