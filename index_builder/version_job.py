"""One version to build: all that its stages need to know, and the name that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from catalog import canonical_json
from catalog.snapshot import Snapshot
from index_builder.faiss_import import faiss
from index_builder.planning.index_plan import IndexPlan
from index_builder.publishing.verdict import Thresholds

# Part of a version's id: raised when the same snapshot and plan would give other bytes.
BUILDER_VERSION = 5


@dataclass(frozen=True)
class VersionJob:
    """One version to build.

    Attributes:
        root: URL of ARTIFACTS/<name>.
        name: of the artifact.
        store: URL of the embedding store.
        fingerprint: of its encoder.
        sequence: of its snapshot.
        plan: what to build.
        channel: to point to it.
        queries: items that the evaluation asks with; they are kept out of the training sample.
        stratify: metadata column whose values all get their share of the training sample, however few they are.
        recall_target: recall@10 that the default operating point should reach.
        latency_target_ms: milliseconds that a single search may take there.
        earlier: an earlier version, whose codebook is used again unless the vectors have drifted from it.
        memory: bytes that a stage may hold; decides no byte of the version.
        thresholds: of the gates; like the three below, a matter of the manifest and not of the version's bytes.
        forced: gates to override, each with its reason.
        labels: names and values to write into the manifest.
        pins: reasons to keep the version.
        attempt: name of this try.
        version: id of the version, from `version_id`.
    """

    root: str
    name: str
    store: str
    fingerprint: str
    sequence: int
    plan: IndexPlan
    channel: str
    queries: int = 1_000
    stratify: str | None = None
    recall_target: float | None = None
    latency_target_ms: float | None = None
    earlier: str | None = None
    memory: int = 1 << 30
    thresholds: Thresholds = field(default_factory=Thresholds)
    forced: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    pins: tuple[str, ...] = ()
    attempt: str = ""
    version: str = ""


def version_id(job: VersionJob, snapshot: Snapshot) -> str:
    """Names a version by all that decides its bytes, so that the same build is the same version."""
    described = {name: value for name, value in snapshot.to_json().items() if name != "cost"}
    wanted = [job.queries, job.stratify, job.recall_target, job.latency_target_ms, job.earlier]
    parts = [described, job.plan.identity(), wanted, BUILDER_VERSION, faiss().__version__]
    return f"{snapshot.sequence:06d}-{canonical_json.digest(parts)[:10]}"
