"""Assembling: codes to runs, runs to index files, rows to files of items and of stored vectors."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from catalog import canonical_json, storage
from catalog.manifest import ManifestFile, sha256_of, version_folder
from catalog.snapshot import Snapshot
from index_builder.assembly.code_files import codes_url, read_codes
from index_builder.assembly.index_file import write_flat_index, write_ivf_index, write_whole_index
from index_builder.assembly.runs import Run, list_sizes, write_run
from index_builder.assembly.snapshot_vectors import (
    ITEM_COLUMNS,
    partition_tables,
    partition_vectors,
    row_offsets,
    rows_of_files,
)
from index_builder.measures import faiss_metric, prepare
from index_builder.searching.items import write_items
from index_builder.searching.vector_file import write_vectors
from index_builder.stages.training import read_metadata_type, training_sample
from index_builder.training.codebook import Codebook, Codes
from index_builder.version_job import VersionJob
from index_builder.work import Stretch, WorkFolder, run_stretches, shards


def merge_codes(job: VersionJob, snapshot: Snapshot, stretch: Stretch, codebook: str) -> None:
    """Stores the codes of a stretch of partitions, of rows that count, as one run.

    Args:
        job: of which version.
        snapshot: the vectors.
        stretch: which.
        codebook: id of it.
    """
    url = WorkFolder(job).run(stretch)
    if not storage.exists(url):
        parts = _numbered_codes(job, snapshot, stretch, codebook)
        write_run(url, job.plan.lists, job.plan.code_bytes, parts)


def _numbered_codes(
    job: VersionJob, snapshot: Snapshot, stretch: Stretch, codebook: str
) -> Iterator[tuple[Codes, np.ndarray]]:
    offsets = row_offsets(snapshot)
    for partition in stretch.partitions:
        for entry, numbers in rows_of_files(job.store, snapshot, partition, int(offsets[partition])):
            yield read_codes(codes_url(job.root, codebook, entry)), numbers


def write_index_part(job: VersionJob, snapshot: Snapshot, part: int, codebook: Codebook | None) -> None:
    """Stores one index file: the lists of a part, or the whole of an index that has none.

    Args:
        job: of which version.
        snapshot: the vectors.
        part: which, of `job.plan.parts`.
        codebook: None for an index without one.
    """
    name = numbered("index.faiss", part, job.plan.parts)
    with _StoredOnce(job, name, "index") as path:
        if path is None:
            return
        if codebook is not None:
            runs = [Run(WorkFolder(job).run(stretch)) for stretch in run_stretches(snapshot, job)]
            sizes, fastscan = list_sizes(runs), job.plan.family == "ivf_pq_fastscan"
            lists = part_bounds(sizes, job.plan.parts)[part]
            write_ivf_index(path, codebook, fastscan, runs, sizes, lists, job.memory)
            return
        metric = faiss_metric(job.plan.metric)
        blocks = _prepared(job, snapshot, range(snapshot.partitions))
        if job.plan.family == "flat":
            write_flat_index(path, blocks, snapshot.vectors, snapshot.encoder.dimension, metric)
        else:
            write_whole_index(path, blocks, training_sample(job, snapshot), job.plan.factory, metric)


def part_bounds(sizes: np.ndarray, parts: int) -> list[tuple[int, int]]:
    """Consecutive ranges of lists, one a part, with about the same number of rows in each.

    Args:
        sizes: int64 [lists], rows in each list.
        parts: how many; some are empty where there are more parts than lists.
    """
    before = np.concatenate([[0], np.cumsum(sizes)])
    cuts = np.searchsorted(before, before[-1] * np.arange(1, parts) / parts)
    ends = [0, *cuts.tolist(), len(sizes)]
    return list(itertools.pairwise(ends))


def write_shard(job: VersionJob, snapshot: Snapshot, number: int) -> None:
    """Stores the items of a range of rows, and their vectors where the version keeps them."""
    everything = shards(snapshot)
    stretch, offsets = everything[number], row_offsets(snapshot)
    rows = (int(offsets[stretch.first]), int(offsets[stretch.last]))
    with _StoredOnce(job, numbered("items.arrow", number, len(everything)), "items") as path:
        if path is not None:
            every = (partition_tables(job.store, snapshot, each, ITEM_COLUMNS) for each in stretch.partitions)
            write_items(path, itertools.chain.from_iterable(every), offsets, read_metadata_type(job), rows[0])
    if not job.plan.refine:
        return
    with _StoredOnce(job, numbered("vectors.npy", number, len(everything)), "vectors") as path:
        if path is not None:
            blocks = _prepared(job, snapshot, stretch.partitions)
            write_vectors(path, blocks, rows[1] - rows[0], snapshot.encoder.dimension, snapshot.vector_type)


def _prepared(job: VersionJob, snapshot: Snapshot, partitions: Iterable[int]) -> Iterator[np.ndarray]:
    for partition in partitions:
        for vectors in partition_vectors(job.store, snapshot, partition):
            yield prepare(vectors, job.plan.metric)


def numbered(name: str, number: int, count: int) -> str:
    """`index.faiss`, or `index.part-000.faiss` where there are several."""
    stem, suffix = name.split(".")
    return name if count == 1 else f"{stem}.part-{number:03d}.{suffix}"


class _StoredOnce:
    """A scratch path to write a file of the version to, stored and noted when the body is done; None where it is."""

    def __init__(self, job: VersionJob, name: str, role: str) -> None:
        self._job, self._name, self._role = job, name, role
        self._record = WorkFolder(job).record(name)

    def __enter__(self) -> Path | None:
        if storage.exists(self._record):
            return None
        self._scratch = tempfile.TemporaryDirectory(prefix="catalog-indexer-")
        self._path = Path(self._scratch.name) / self._name
        return self._path

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        if not hasattr(self, "_scratch"):
            return
        with self._scratch:
            if kind is None:
                storage.put_file(
                    self._path, storage.join(version_folder(self._job.root, self._job.version), self._name)
                )
                digest, size = sha256_of(str(self._path))
                entry = ManifestFile(self._name, self._role, size, digest)
                storage.write(self._record, canonical_json.dump(asdict(entry)))


def stored_files(job: VersionJob) -> list[ManifestFile]:
    """The files that were noted, in the order of their names."""
    found = storage.list_files(storage.join(WorkFolder(job).url, "files"))
    return [ManifestFile(**canonical_json.load(storage.read_bytes(url), url)) for url in found]
