"""One dedupe job: what it compares, and the units that its stages are cut into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from catalog import canonical_json, storage
from catalog.snapshot import Snapshot, read_snapshot
from dedupe.settings import Settings
from index_builder.assembly.snapshot_vectors import row_offsets

# Part of a job's id: raised when the same snapshots and settings would give another report.
DEDUPE_VERSION = 1


@dataclass(frozen=True)
class Source:
    """A snapshot to compare, under the `name` that the report gives it; of a single one the name is empty."""

    name: str
    store: str
    sequence: int


@dataclass(frozen=True)
class Stretch:
    """Consecutive partitions, `first` to `last` - 1, of the source of that number; `row` is the number of the first of
    its rows, `rows` how many they are."""

    number: int
    source: int
    first: int
    last: int
    row: int
    rows: int


@dataclass(frozen=True)
class DedupeJob:
    """One job.

    Attributes:
        output: URL of the report.
        sources: what is compared.
        settings: what counts as a duplicate.
        stretch_rows: rows of a stretch, the unit of work on items.
        bucket_rows: rows, or pairs, that are brought together at a time.
        measure: URL of a calibration, whose measure is compared with; None to train one.
        found: URL of a folder of pairs that were found in the same snapshots, and are judged anew; None to look for
            pairs.
        columns: the metadata columns that the settings name, as `dedupe.metadata_columns.to_text` writes them.
        earlier: URL of a report of an earlier snapshot: only what is new since then is compared; None for everything.
    """

    output: str
    sources: tuple[Source, ...]
    settings: Settings
    stretch_rows: int = 1 << 18
    bucket_rows: int = 1 << 20
    measure: str | None = None
    found: str | None = None
    earlier: str | None = None
    columns: str = ""

    @property
    def identity(self) -> str:
        """Twenty hex digits of all that decides the report."""
        described = {name: value for name, value in asdict(self).items() if name != "output"}
        return canonical_json.digest([DEDUPE_VERSION, described])[:20]

    @property
    def work(self) -> str:
        """URL of the folder for what stages hand to one another; it goes when the report is complete."""
        return storage.join(self.output, "work", self.identity)

    @property
    def state(self) -> str:
        """URL of the folder for what a later report builds on; it stays."""
        return state_of(self.output, self.identity)

    def at(self, *names: object) -> str:
        """URL of something in the work folder."""
        return storage.join(self.work, *(str(name) for name in names))

    def found_at(self, name: str) -> str:
        """URL of something that was found, which stays with the report for other settings to judge."""
        return storage.join(self.found or storage.join(self.output, "found", self.identity), name)


def state_of(report: str, identity: str) -> str:
    """URL of what a report with that identity keeps for a later one."""
    return storage.join(report, "state", identity)


class Layout:
    """The rows of a job's snapshots and the units over them; the same in every process.

    Attributes:
        snapshots: in the order of the sources.
        stretches: all of them, in the order of rows.
        rows: of all snapshots together.
        buckets: what pairs, classes and components are shared out between.
    """

    def __init__(self, job: DedupeJob, snapshots: Sequence[Snapshot] | None = None) -> None:
        self.job = job
        self.snapshots = tuple(snapshots or [read_snapshot(source.store, source.sequence) for source in job.sources])
        self.stretches: list[Stretch] = []
        self.rows = 0
        for number, snapshot in enumerate(self.snapshots):
            self._cut(number, snapshot)
        self.buckets = max(1, -(-self.rows // job.bucket_rows))
        self._starts = np.array([each.row for each in self.stretches] or [0], np.int64)

    def _cut(self, source: int, snapshot: Snapshot) -> None:
        offsets = row_offsets(snapshot)
        first = 0
        while first < snapshot.partitions:
            last = first + 1
            while last < snapshot.partitions and offsets[last + 1] - offsets[first] <= self.job.stretch_rows:
                last += 1
            rows = int(offsets[last] - offsets[first])
            if rows:
                row = self.rows + int(offsets[first])
                self.stretches.append(Stretch(len(self.stretches), source, first, last, row, rows))
            first = last
        self.rows += int(offsets[-1])

    def stretch_of(self, rows: np.ndarray) -> np.ndarray:
        """int64 [n]: the number of the stretch that holds each row."""
        return np.searchsorted(self._starts, rows, side="right") - 1

    def to_json(self) -> dict[str, Any]:
        """The sources as a report names them."""
        return {
            "sources": [
                {**asdict(source), "fingerprint": snapshot.encoder.fingerprint, "rows": snapshot.vectors}
                for source, snapshot in zip(self.job.sources, self.snapshots, strict=True)
            ]
        }


def mix(values: np.ndarray) -> np.ndarray:
    """uint64 [n]: whole numbers stirred so that their remainders are even (the finalizer of splitmix64)."""
    mixed = values.astype(np.uint64)
    with np.errstate(over="ignore"):
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def bucket_of(values: np.ndarray, buckets: int) -> np.ndarray:
    """int64 [n]: the bucket of each number."""
    return (mix(values) % np.uint64(buckets)).astype(np.int64)
