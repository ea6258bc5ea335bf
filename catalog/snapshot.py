"""Snapshots: immutable, numbered lists of embedding files - the current embeddings of a catalog.

Readers follow snapshots, never directory listings of embedding files. A snapshot has no clock and no host in it: the
same work gives the same bytes, however often it was interrupted.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from catalog import canonical_json, storage
from catalog.encoder_info import EncoderInfo
from catalog.errors import ConflictError, UsageError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class FileEntry:
    """An embedding file of a snapshot, and the ids in it that no longer count."""

    partition: int
    path: str
    sha256: str
    bytes: int
    rows: int
    removed: tuple[str, ...] = ()

    @property
    def live_rows(self) -> int:
        return self.rows - len(self.removed)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "removed": list(self.removed)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> FileEntry:
        return cls(**{**value, "removed": tuple(value["removed"])})


@dataclass(frozen=True)
class RejectsEntry:
    """The rejects file of one partition."""

    partition: int
    path: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Counts:
    """Where every input row ended. `rows` = `embedded` + `reused` + `rejected`, or the run fails.

    `removed` are ids that left the catalog; `stale` are those of the reused whose image may have changed but could not
    be read, for a reason that may pass: they keep the vector that they had.
    """

    rows: int
    embedded: int
    reused: int
    rejected: int
    rejects_by_reason: dict[str, int] = field(default_factory=dict)
    removed: int = 0
    stale: int = 0

    def __add__(self, other: Counts) -> Counts:
        reasons = dict(self.rejects_by_reason)
        for reason, count in other.rejects_by_reason.items():
            reasons[reason] = reasons.get(reason, 0) + count
        return Counts(
            self.rows + other.rows,
            self.embedded + other.embedded,
            self.reused + other.reused,
            self.rejected + other.rejected,
            dict(sorted(reasons.items())),
            self.removed + other.removed,
            self.stale + other.stale,
        )


@dataclass(frozen=True)
class Snapshot:
    """The embeddings of a catalog after one run.

    Attributes:
        sequence: its number; snapshots of a store are numbered from 1 without a gap.
        parent: the number before, None for the first.
        lineage: number of the first snapshot with this encoder's fingerprint. Vectors of two lineages never meet in one
            snapshot.
        run: id of the run that made it.
        cost: what the run's changed partitions cost, see `encoders.meter`; the only part that another run of the same
            work does not repeat to the byte.
    """

    sequence: int
    parent: int | None
    lineage: int
    run: str
    encoder: EncoderInfo
    vector_type: str
    partitions: int
    counts: Counts
    files: tuple[FileEntry, ...]
    rejects: tuple[RejectsEntry, ...] = ()
    cost: dict[str, float] = field(default_factory=dict)

    @property
    def vectors(self) -> int:
        """Live vectors in all files."""
        return sum(entry.live_rows for entry in self.files)

    def files_of(self, partition: int) -> list[FileEntry]:
        """The files of one partition, oldest first."""
        return self._files_by_partition.get(partition, [])

    def rejects_of(self, partition: int) -> RejectsEntry | None:
        """The rejects file of one partition, None where it has no rejects."""
        return self._rejects_by_partition.get(partition)

    @functools.cached_property
    def _files_by_partition(self) -> dict[int, list[FileEntry]]:
        grouped: dict[int, list[FileEntry]] = {}
        for entry in self.files:
            grouped.setdefault(entry.partition, []).append(entry)
        return grouped

    @functools.cached_property
    def _rejects_by_partition(self) -> dict[int, RejectsEntry]:
        return {entry.partition: entry for entry in self.rejects}

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "sequence": self.sequence,
            "parent": self.parent,
            "lineage": self.lineage,
            "run": self.run,
            "encoder": self.encoder.to_json(),
            "vector_type": self.vector_type,
            "partitions": self.partitions,
            "counts": asdict(self.counts),
            "vectors": self.vectors,
            "files": [entry.to_json() for entry in self.files],
            "rejects": [asdict(entry) for entry in self.rejects],
            "cost": self.cost,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Snapshot:
        return cls(
            sequence=value["sequence"],
            parent=value["parent"],
            lineage=value.get("lineage", 1),
            run=value["run"],
            encoder=EncoderInfo.from_json(value["encoder"]),
            vector_type=value["vector_type"],
            partitions=value["partitions"],
            counts=Counts(**value["counts"]),
            files=tuple(FileEntry.from_json(entry) for entry in value["files"]),
            rejects=tuple(RejectsEntry(**entry) for entry in value["rejects"]),
            cost=value.get("cost", {}),
        )


def snapshot_url(store: str, sequence: int) -> str:
    """Where snapshot `sequence` of a store is."""
    return storage.join(store, "snapshots", f"{sequence:06d}.json")


def read_snapshot(store: str, sequence: int) -> Snapshot:
    """Snapshot `sequence`. Raises UsageError when there is none, or it is of a newer schema."""
    url = snapshot_url(store, sequence)
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        raise UsageError(f"{store} has no snapshot {sequence}; it has: {_listed(list_snapshots(store))}") from None
    version = canonical_json.parse(data, url, lambda value: value["schema_version"])
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{url} has schema version {version}; this version reads {SCHEMA_VERSION}: upgrade catalog-indexer"
        )
    return canonical_json.parse(data, url, Snapshot.from_json)


def list_snapshots(store: str) -> list[int]:
    """The numbers of the snapshots of a store, oldest first."""
    names = (storage.name_of(url) for url in storage.list_files(storage.join(store, "snapshots")))
    return sorted(int(name.removesuffix(".json")) for name in names if name.removesuffix(".json").isdigit())


def latest_snapshot(store: str) -> Snapshot | None:
    """The newest snapshot, or None where nothing was embedded yet."""
    numbers = list_snapshots(store)
    return read_snapshot(store, numbers[-1]) if numbers else None


def latest_of(store: str, fingerprint: str) -> Snapshot | None:
    """The newest snapshot with the vectors of an encoder, or None."""
    for number in reversed(list_snapshots(store)):
        snapshot = read_snapshot(store, number)
        if snapshot.encoder.fingerprint == fingerprint:
            return snapshot
    return None


def write_snapshot(store: str, snapshot: Snapshot) -> None:
    """Publishes a snapshot. The number is taken create-only, so of two runs at once one loses.

    Writing the same snapshot again is harmless: a retry cannot know that its first answer was lost.

    Raises:
        ConflictError: the number holds another snapshot.
    """
    url, data = snapshot_url(store, snapshot.sequence), canonical_json.dump(snapshot.to_json())
    try:
        storage.create(url, data)
    except ConflictError:
        if storage.read_bytes(url) != data:
            raise ConflictError(
                f"another run published snapshot {snapshot.sequence} of {store} in the meantime; run again to build on "
                "it"
            ) from None


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"
