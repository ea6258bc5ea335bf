"""The rejects of a snapshot: how many of each reason, and some of each to look at."""

from __future__ import annotations

from dataclasses import dataclass

from catalog import storage
from catalog.rejects import TRANSIENT, Reject, read_rejects
from catalog.snapshot import Snapshot


@dataclass(frozen=True)
class RejectReport:
    """What a snapshot's run rejected.

    Attributes:
        counts: rows by reason.
        transient: how many rows, of any reason, may pass by being tried again.
        samples: some rows of each reason, the first ones in partition order.
    """

    counts: dict[str, int]
    transient: int
    samples: dict[str, list[Reject]]


def report_rejects(store: str, snapshot: Snapshot, reason: str | None, sample: int) -> RejectReport:
    """Reads as many rejects files as the samples need.

    Args:
        store: the embedding store.
        snapshot: whose rejects.
        reason: report this one alone; None for all.
        sample: rows of each reason.
    """
    counts = {name: count for name, count in snapshot.counts.rejects_by_reason.items() if reason in (None, name)}
    samples: dict[str, list[Reject]] = {name: [] for name in counts}
    wanted = {name: min(sample, count) for name, count in counts.items()}
    for entry in snapshot.rejects:
        if all(len(samples[name]) >= wanted[name] for name in samples):
            break
        for row in read_rejects(storage.join(store, entry.path)).to_pylist():
            found = samples.get(row["reason"])
            if found is not None and len(found) < sample:
                found.append(Reject(**row))
    transient = sum(snapshot.counts.rejects_by_reason.get(name, 0) for name in TRANSIENT)
    return RejectReport(counts, transient, samples)
