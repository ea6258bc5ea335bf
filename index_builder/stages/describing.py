"""Describing: the manifest of a version, from what its stages have decided and measured."""

from __future__ import annotations

import datetime
import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import canonical_json
from catalog.errors import IntegrityError
from catalog.manifest import Manifest, ManifestFile, read_manifest
from catalog.snapshot import Snapshot
from index_builder.evaluation.evaluate import Evaluation
from index_builder.faiss_import import FAISS_AT_LEAST, faiss
from index_builder.planning.estimates import serving_terms
from index_builder.publishing.soundness import Soundness
from index_builder.stages.training import read_training
from index_builder.version_job import VersionJob

# Roles whose files a consumer maps into memory.
_MAPPED = ("index", "items", "vectors")


@dataclass(frozen=True)
class Built:
    """A version as it was built: its stored files, what was measured, the flags that its index is loaded with, and the
    seconds of each stage."""

    files: Sequence[ManifestFile]
    evaluation: Evaluation
    soundness: Soundness
    load_flags: Sequence[str]
    seconds_by_stage: Mapping[str, float]


def write_source(path: Path, snapshot: Snapshot) -> None:
    """Writes `source.json`: the snapshot with the sha256 of each embedding file, as the embedding store has it."""
    path.write_bytes(snapshot_bytes(snapshot))


def snapshot_bytes(snapshot: Snapshot) -> bytes:
    """The snapshot without its cost, which another run of the same work does not repeat."""
    return canonical_json.dump({name: value for name, value in snapshot.to_json().items() if name != "cost"})


def describe(job: VersionJob, snapshot: Snapshot, built: Built, parent: str | None) -> Manifest:
    """The manifest, but for the verdicts of the gates.

    Args:
        job: of the version.
        snapshot: the vectors.
        built: what its stages made.
        parent: the version on the channel.

    Raises:
        IntegrityError: rows were lost or doubled on the way from the snapshot to the index.
    """
    training = read_training(job)
    report = dict(training.report)
    if training.codebook:
        report["best_recall"] = max(each.recall["10"] for each in built.evaluation.points)
        report["recall_when_trained"] = _recall_when_trained(job, report)
    return Manifest(
        version=job.version,
        name=job.name,
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        encoder=snapshot.encoder,
        metric=job.plan.metric,
        vectors=snapshot.vectors,
        index=job.plan.to_json(),
        codebook=training.codebook,
        training=report,
        search=built.evaluation.default.to_json(),
        recall=built.evaluation.recall,
        source={
            "store": job.store,
            "snapshot": snapshot.sequence,
            "lineage": snapshot.lineage,
            "sha256": hashlib.sha256(snapshot_bytes(snapshot)).hexdigest(),
            "files": len(snapshot.files),
            "bytes": sum(each.bytes for each in snapshot.files),
            "counts": asdict(snapshot.counts),
        },
        libraries=_libraries(),
        seconds_by_stage=dict(built.seconds_by_stage),
        files=tuple(sorted(built.files, key=lambda each: each.path)),
        parent=parent,
        counts=reconcile(snapshot, built.soundness),
        pareto=[each.to_json() for each in built.evaluation.pareto],
        serving={
            "load_flags": list(built.load_flags),
            "faiss_at_least": FAISS_AT_LEAST,
            "memory_bytes": sum(serving_terms(job.plan, snapshot.vectors).values()),
            "disk_bytes": sum(each.bytes for each in built.files if each.role in _MAPPED),
        },
        soundness=asdict(built.soundness),
        earlier=job.earlier,
        attempt=job.attempt,
        thresholds=asdict(job.thresholds),
        labels=dict(job.labels),
        pins=list(job.pins),
    )


def reconcile(snapshot: Snapshot, soundness: Soundness) -> dict[str, int]:
    """Where the rows went, from the catalog to the index. Raises IntegrityError where some are missing or double."""
    counts = snapshot.counts
    found = {
        "input": counts.rows,
        "embedded": counts.embedded,
        "reused": counts.reused,
        "rejected": counts.rejected,
        "removed": counts.removed,
        "indexed": soundness.indexed,
    }
    counted = counts.embedded + counts.reused
    if counts.rows != counted + counts.rejected or snapshot.vectors != counted:
        raise IntegrityError(
            f"snapshot {snapshot.sequence} does not reconcile: {found}, with {snapshot.vectors:,} vectors"
        )
    if not snapshot.vectors == soundness.indexed == soundness.items:
        raise IntegrityError(
            f"snapshot {snapshot.sequence} has {snapshot.vectors:,} vectors, the index {soundness.indexed:,} and the "
            f"items {soundness.items:,}; nothing is published"
        )
    return found


def _recall_when_trained(job: VersionJob, report: Mapping[str, Any]) -> float:
    """Best recall@10 of the first version with this codebook."""
    if report["decision"] == "kept" and job.earlier:
        return float(read_manifest(job.root, job.earlier).training["recall_when_trained"])
    return float(report["best_recall"])


def _libraries() -> dict[str, str]:
    library = faiss()
    return {
        "faiss": library.__version__,
        "faiss_options": library.get_compile_options().strip(),
        "simd": simd_level(library),
        "machine": platform.machine(),
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
        "python": platform.python_version(),
    }


def simd_level(library: Any) -> str:
    """What FAISS's kernels run on: the level that it chose at start, where it says so."""
    config = getattr(library, "SIMDConfig", None)
    if config is None:
        return "unknown"
    return str(config.get_level_name())
