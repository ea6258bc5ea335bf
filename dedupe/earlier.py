"""An earlier report, as far as a later one builds on it: whether it may, and where things are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from catalog import canonical_json, storage
from catalog.errors import UsageError
from catalog.snapshot import Snapshot
from dedupe.job import DedupeJob, Layout, Source, Stretch, state_of
from dedupe.settings import Settings

SCHEMA_VERSION = 1
#: Settings that decide which pairs there are; others only decide what becomes of them.
DECIDING = (
    "tiers",
    "threshold",
    "thumbnail_threshold",
    "phash_radius",
    "phash_256_radius",
    "verify",
    "turned",
    "probes",
    "normalization",
)
_PLAN = "plan.json"


@dataclass(frozen=True)
class Earlier:
    """A complete report and what it keeps.

    Attributes:
        report: URL of the report.
        state: URL of what it keeps for a later one.
        settings: that it was made with.
        sources: what it compared, and `fingerprints`, of the encoders, and `partitions`, of each.
        stretches: its units of rows.
        buckets: files of its pairs.
        calibration: URL of the calibration whose measure it used; None if it trained one.
    """

    report: str
    state: str
    settings: Settings
    sources: tuple[Source, ...]
    fingerprints: tuple[str, ...]
    partitions: tuple[int, ...]
    stretches: tuple[Stretch, ...]
    buckets: int
    calibration: str | None

    @classmethod
    def read(cls, report: str) -> Earlier:
        """Raises UsageError where there is no complete report that can be built on."""
        shown = storage.redact(report)
        summary = read_report(report)
        state = state_of(report, summary["identity"])
        plan = _read(storage.join(state, _PLAN))
        if plan is None or plan["schema_version"] != SCHEMA_VERSION:
            raise UsageError(f"{shown} keeps nothing that a later report could build on; make a report without it")
        return cls(
            report=report,
            state=state,
            settings=Settings.from_json(summary["settings"]),
            sources=tuple(Source(each["name"], each["store"], each["sequence"]) for each in summary["sources"]),
            fingerprints=tuple(each["fingerprint"] for each in summary["sources"]),
            partitions=tuple(plan["partitions"]),
            stretches=tuple(Stretch(**each) for each in plan["stretches"]),
            buckets=plan["buckets"],
            calibration=plan["calibration"],
        )

    def objection(
        self, sources: Sequence[Source], snapshots: Sequence[Snapshot], settings: Settings, calibration: str | None
    ) -> str | None:
        """Why a report of those snapshots cannot build on this one, as the end of a sentence; None where it can."""
        stores, wanted = ([(each.name, each.store) for each in some] for some in (self.sources, sources))
        if stores != wanted:
            return f"it is a report of {_told(stores)}, and this one is of {_told(wanted)}"
        if self.fingerprints != tuple(each.encoder.fingerprint for each in snapshots):
            return "its vectors are of another encoder, and scores would not be the same"
        for name in DECIDING:
            before, now = getattr(self.settings, name), getattr(settings, name)
            if before != now:
                flag = {"normalization": "normalize"}.get(name, name).replace("_", "-")
                return f"it was made with --{flag} {_value(before)}, and this run asks for {_value(now)}"
        if calibration is not None and calibration != self.calibration:
            return f"it was not made with --calibration {storage.redact(calibration)}"
        return None


def read_report(report: str) -> dict[str, Any]:
    """The summary of a complete report. Raises UsageError where there is none."""
    summary = _read(storage.join(report, "summary.json"))
    if summary is None:
        raise UsageError(
            f"{storage.redact(report)} holds no complete report; run catalog-indexer dedupe there first, or again"
        )
    return summary


def write_plan(layout: Layout) -> None:
    """Keeps what `Earlier.read` asks for."""
    job = layout.job
    calibration = Earlier.read(job.earlier).calibration if job.earlier is not None else job.measure
    plan = {
        "schema_version": SCHEMA_VERSION,
        "partitions": [snapshot.partitions for snapshot in layout.snapshots],
        "stretches": [asdict(stretch) for stretch in layout.stretches],
        "buckets": layout.buckets,
        "calibration": calibration,
    }
    storage.write(storage.join(job.state, _PLAN), canonical_json.dump(plan))


def pairs_url(job: DedupeJob, bucket: int) -> str:
    """Where the pairs that a job accepted are kept."""
    return storage.join(job.state, "pairs", f"{bucket:06d}.arrow")


def _read(url: str) -> dict[str, Any] | None:
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        return None
    return canonical_json.load(data, url)


def _told(stores: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name}={storage.redact(url)}" if name else storage.redact(url) for name, url in stores)


def _value(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)
