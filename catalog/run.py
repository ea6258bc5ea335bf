"""Runs: what a run set out to do, and the commits that say which partitions are done.

A run's id is the hash of its plan, so the same command after a kill finds the same run and its commits, and does only
what is missing. A commit is written last and create-only; what it names is already stored.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field
from typing import Any

from catalog import canonical_json, storage
from catalog.errors import ConflictError, UsageError
from catalog.reject_pile import RejectPile
from catalog.snapshot import Counts, FileEntry, RejectsEntry

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RunPlan:
    """What decides the outcome of a run.

    Attributes:
        catalog: identity of the catalog: files, their versions, roles, types.
        fingerprint: of the encoder.
        vector_type: of the stored vectors.
        partitions: of the store.
        parent: the snapshot that the run starts from, None for the first.
        settings: every other setting that changes what is written, such as the limits of the decoder.
    """

    catalog: str
    fingerprint: str
    vector_type: str
    partitions: int
    parent: int | None
    settings: dict[str, Any]

    @property
    def run_id(self) -> str:
        return canonical_json.digest(asdict(self))[:16]


@dataclass(frozen=True)
class PartitionResult:
    """What became of one partition: the files it now consists of, its rejects, its counts, and what it cost (sums by
    name, see `encoders.meter`)."""

    partition: int
    files: tuple[FileEntry, ...]
    rejects: RejectsEntry | None
    counts: Counts
    changed: bool
    cost: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "partition": self.partition,
            "files": [entry.to_json() for entry in self.files],
            "rejects": asdict(self.rejects) if self.rejects else None,
            "counts": asdict(self.counts),
            "changed": self.changed,
            "cost": self.cost,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> PartitionResult:
        return cls(
            partition=value["partition"],
            files=tuple(FileEntry.from_json(entry) for entry in value["files"]),
            rejects=RejectsEntry(**value["rejects"]) if value["rejects"] else None,
            counts=Counts(**value["counts"]),
            changed=value["changed"],
            cost=value.get("cost", {}),
        )


class Run:
    """The folder of one run below an embedding store."""

    def __init__(self, store: str, run_id: str) -> None:
        self.store = store
        self.run_id = run_id
        self.folder = storage.join(store, "runs", run_id)

    def begin(self, plan: RunPlan, launch: dict[str, Any]) -> None:
        """Writes the plan, and how the run was launched; harmless when an earlier try has."""
        with contextlib.suppress(ConflictError):
            storage.create(
                storage.join(self.folder, "plan.json"),
                canonical_json.dump({"schema_version": SCHEMA_VERSION, **asdict(plan), "launch": launch}),
            )

    def launch(self) -> dict[str, Any]:
        """How the run was launched. Raises FileNotFoundError."""
        url = storage.join(self.folder, "plan.json")
        return dict(canonical_json.load(storage.read_bytes(url), url)["launch"])

    def rows_folder(self, partition: int) -> str:
        """Where the rows of a partition are between being read and being encoded, see `catalog.row_files`."""
        return storage.join(self.folder, "rows", f"{partition:05d}")

    def forget_rows(self) -> None:
        """Removes the rows on their way, when everything that comes of them is stored. What cannot be removed now is by
        the next run."""
        with contextlib.suppress(OSError):
            storage.delete_tree(storage.join(self.folder, "rows"))

    def store_rejects(
        self, partition: int, rejects: RejectPile, before: RejectsEntry | None
    ) -> tuple[RejectsEntry | None, bool]:
        """Stores the rejects of a partition unless the snapshot before has the same ones; says whether they changed.

        Named by content: two workers of one run may meet different failures, and only one of them commits.
        """
        if not len(rejects):
            return None, before is not None
        written, digest = rejects.write()
        if before is not None and before.sha256 == digest:
            return before, False
        path = f"rejects/{self.run_id}/{partition:05d}-{digest[:16]}.parquet"
        storage.put_file(written, storage.join(self.store, path))
        return RejectsEntry(partition, path, digest, len(rejects)), True

    def read_commit(self, partition: int) -> PartitionResult | None:
        """The committed result of a partition, None while there is none."""
        url = self._commit_url(partition)
        try:
            data = storage.read_bytes(url)
        except FileNotFoundError:
            return None
        version = canonical_json.parse(data, url, lambda value: value["schema_version"])
        if version != SCHEMA_VERSION:
            raise UsageError(f"{url} has schema version {version}; this version reads {SCHEMA_VERSION}")
        return canonical_json.parse(data, url, PartitionResult.from_json)

    def commit(self, result: PartitionResult) -> PartitionResult:
        """Commits a partition; returns what counts, which is another worker's commit if that came first."""
        try:
            storage.create(self._commit_url(result.partition), canonical_json.dump(result.to_json()))
        except ConflictError:
            committed = self.read_commit(result.partition)
            assert committed is not None
            return committed
        return result

    def embedded(self) -> int:
        """How many images the committed partitions embedded."""
        urls = storage.list_files(storage.join(self.folder, "commits"))
        numbers = [int(storage.name_of(url).removesuffix(".json")) for url in urls]
        results = [self.read_commit(number) for number in numbers]
        return sum(result.counts.embedded for result in results if result)

    def committed(self) -> int:
        """How many partitions are committed."""
        return sum(1 for _ in storage.list_files(storage.join(self.folder, "commits")))

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Leaves the outcome where the launcher finds it; a retry leaves the same."""
        storage.write(self._summary_url(), canonical_json.dump({"schema_version": SCHEMA_VERSION, **summary}))

    def read_summary(self) -> dict[str, Any]:
        """The outcome. Raises FileNotFoundError before the run has finished."""
        return dict(canonical_json.load(storage.read_bytes(self._summary_url()), self._summary_url()))

    def forget(self) -> None:
        """Removes the folder of a run that changed nothing."""
        storage.delete_tree(self.folder)

    def _commit_url(self, partition: int) -> str:
        return storage.join(self.folder, "commits", f"{partition:05d}.json")

    def _summary_url(self) -> str:
        return storage.join(self.folder, "summary.json")
