"""What a build under way keeps in the artifact store, and the units that its stages are cut into.

Each unit stores what it made under a name that says what it is of, all of it or nothing, so a build that was killed
does again only the units that were under way. The folder goes when the version is published.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from catalog import storage
from catalog.partition import item_hash
from catalog.snapshot import Snapshot
from index_builder.assembly.snapshot_vectors import row_offsets
from index_builder.version_job import VersionJob

# Rows whose codes and exact neighbours are one unit.
_STRETCH_ROWS = 1 << 18
# Rows in one items file; and in one file of stored vectors.
SHARD_ROWS = 1 << 24
# A run is held as codes, as numbers, as an order, and once more in that order.
_RUN_BYTES_A_ROW = 64
# Partitions are random subsets of the items, so a sample of a large snapshot reads some of them only, but enough that
# no single one matters.
_FEWEST_SAMPLED = 64
_SAMPLED_AT_MOST = 0.5


@dataclass(frozen=True)
class Stretch:
    """Consecutive partitions, `first` to `last` - 1."""

    first: int
    last: int

    @property
    def partitions(self) -> range:
        return range(self.first, self.last)

    def __str__(self) -> str:
        return f"{self.first:06d}-{self.last:06d}"


def stretches(snapshot: Snapshot, most_rows: int) -> Iterator[Stretch]:
    """All partitions in stretches of at most `most_rows` rows, or of one partition."""
    counts = np.diff(row_offsets(snapshot)).tolist()
    first, held = 0, 0
    for partition, rows in enumerate(counts):
        if partition > first and held + rows > most_rows:
            yield Stretch(first, partition)
            first, held = partition, 0
        held += rows
    yield Stretch(first, len(counts))


def encoded_stretches(snapshot: Snapshot) -> list[Stretch]:
    """Units of encoding and of exact neighbours."""
    return list(stretches(snapshot, _STRETCH_ROWS))


def run_stretches(snapshot: Snapshot, job: VersionJob) -> list[Stretch]:
    """Units of merging: as many rows as memory allows."""
    return list(stretches(snapshot, job.memory // (3 * job.plan.code_bytes + _RUN_BYTES_A_ROW)))


def shards(snapshot: Snapshot) -> list[Stretch]:
    """Units of items and of stored vectors; they decide the files of the version."""
    return list(stretches(snapshot, SHARD_ROWS))


def sampled_partitions(snapshot: Snapshot, job: VersionJob) -> list[int]:
    """The partitions that the training sample and the queries are drawn from: all of a small snapshot, or where a
    column is to be represented in full; of a large one enough, in an order that the hash of their number gives."""
    counts = np.diff(row_offsets(snapshot))
    wanted = (job.plan.training_rows + job.queries) / _SAMPLED_AT_MOST
    if job.stratify or wanted >= snapshot.vectors:
        return list(range(snapshot.partitions))
    chosen: list[int] = []
    rows = 0
    for partition in sorted(range(snapshot.partitions), key=lambda each: item_hash(str(each), 1)):
        if rows >= wanted and len(chosen) >= _FEWEST_SAMPLED:
            break
        chosen.append(partition)
        rows += int(counts[partition])
    return sorted(chosen)


class WorkFolder:
    """Locations of the intermediate files of one version."""

    def __init__(self, job: VersionJob) -> None:
        self.url = storage.join(job.root, "work", job.version)

    def strata(self, partition: int) -> str:
        """Counts of the values of the column to stratify by."""
        return storage.join(self.url, "strata", f"{partition:06d}.json")

    def sample(self, partition: int) -> str:
        """Sampled rows."""
        return storage.join(self.url, "sample", f"{partition:06d}.arrow")

    def queries(self) -> str:
        """The queries of the evaluation."""
        return storage.join(self.url, "queries.arrow")

    def metadata(self) -> str:
        """The type of the metadata of all files."""
        return storage.join(self.url, "metadata.arrow")

    def training(self) -> str:
        """Which codebook, and why; the last that training writes."""
        return storage.join(self.url, "training.json")

    def truth(self, stretch: Stretch) -> str:
        """The queries' nearest in a stretch."""
        return storage.join(self.url, "truth", f"{stretch}.arrow")

    def run(self, stretch: Stretch) -> str:
        """The codes of a stretch in the order of the lists."""
        return storage.join(self.url, "runs", f"{stretch}.run")

    def record(self, name: str) -> str:
        """The size and hash of a finished file of the version."""
        return storage.join(self.url, "files", f"{name}.json")

    def forget_codes(self) -> None:
        """Deletes what follows from codes, and with it the notes of all finished files."""
        for name in ("runs", "files"):
            storage.delete_tree(storage.join(self.url, name))
