"""Training: all samples to the queries and to one codebook, last night's or a new one."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import canonical_json, storage
from catalog.errors import UsageError
from catalog.manifest import read_manifest
from catalog.snapshot import Snapshot
from index_builder.assembly.snapshot_vectors import metadata_type
from index_builder.measures import prepare
from index_builder.planning.index_plan import IndexPlan
from index_builder.stages.sampling import asking_share, queries_asked
from index_builder.training.codebook import IN_MEMORY, Codebook, codebook_id, train_codebook
from index_builder.training.codebook_files import DescribedCodebook, describe_codebook, read_codebook, write_codebook
from index_builder.training.drift import Fit, measure_fit, reasons_to_retrain
from index_builder.training.row_store import RowStore
from index_builder.training.sample import VectorSample, kept_rows, merge_queries, read_sample, write_sample
from index_builder.version_job import BUILDER_VERSION, VersionJob
from index_builder.work import WorkFolder, sampled_partitions

# Vectors that the fit of a codebook is measured on.
_FIT_ROWS = 32_768
# A catalog of copies still has to fill a codebook.
_LEAST_ROWS_A_LIST = 27
_LEAST_ROWS = 1_024
# Kept for a family that trains on its own.
_WHOLE_SAMPLE = 1 << 18


@dataclass(frozen=True)
class Training:
    """What training decided: `codebook` (None for an index without one), and for the manifest `report`."""

    codebook: str | None
    report: dict[str, Any]


def train(job: VersionJob, snapshot: Snapshot) -> None:
    """Stores the queries, the type of the metadata, the codebook, and last what was decided."""
    folder = WorkFolder(job)
    if storage.exists(folder.training()):
        decided = read_training(job).codebook
        if decided is None or describe_codebook(job.root, decided) is not None:
            return
        # It was deleted, because it was damaged. Another may take its place, to which other runs and parts belong.
        folder.forget_codes()
    partitions = sampled_partitions(snapshot, job)
    drawn = [read_sample(folder.sample(each) + ".queries")[0] for each in partitions]
    asked = merge_queries(drawn, asking_share(job, snapshot), queries_asked(job, snapshot))
    prepared = np.asarray(prepare(asked.vectors, job.plan.metric), np.float32)
    write_sample(folder.queries(), VectorSample(asked.keys, asked.rows, prepared))
    kind = metadata_type(job.store, snapshot)
    storage.write(folder.metadata(), pa.schema([] if kind is None else [("metadata", kind)]).serialize().to_pybytes())
    codebook: str | None = None
    report: dict[str, Any] = {}
    if job.plan.lists:
        codebook, report = _codebook(job, [folder.sample(each) for each in partitions], prepared)
    storage.write(folder.training(), canonical_json.dump({"codebook": codebook, "report": report}))


def read_training(job: VersionJob) -> Training:
    """What `train` decided."""
    url = WorkFolder(job).training()
    value = canonical_json.load(storage.read_bytes(url), url)
    return Training(value["codebook"], value["report"])


def read_queries(job: VersionJob) -> VectorSample:
    """The evaluation's queries, prepared."""
    return read_sample(WorkFolder(job).queries())[0]


def read_metadata_type(job: VersionJob) -> pa.DataType | None:
    """The struct type that holds the metadata of all files; None where there is none."""
    fields = pa.ipc.read_schema(pa.py_buffer(storage.read_bytes(WorkFolder(job).metadata())))
    return fields.field("metadata").type if len(fields) else None


def training_sample(job: VersionJob, snapshot: Snapshot) -> np.ndarray:
    """float32 [n, d], prepared: what an index that trains by itself is trained on."""
    samples = [WorkFolder(job).sample(each) for each in sampled_partitions(snapshot, job)]
    most = replace(job.plan, training_rows=min(job.plan.training_rows or _WHOLE_SAMPLE, _WHOLE_SAMPLE))
    rows = gather_sample(samples, most, None)[0]
    return rows.read(0, rows.rows)


def _codebook(job: VersionJob, samples: Sequence[str], held_out: np.ndarray) -> tuple[str, dict[str, Any]]:
    """The id of the codebook to use, trained if need be, and why it is that one."""
    with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as scratch:
        rows, digest = gather_sample(samples, job.plan, Path(scratch))
        report: dict[str, Any] = {
            "rows": rows.rows,
            "sample_sha256": digest.hex(),
            "seed": job.plan.seed,
            "stratify": job.stratify,
        }
        _check_enough(job, rows.rows)
        filling = rows.evenly(_FIT_ROWS)
        kept = _earlier_codebook(job, held_out, filling) if job.earlier else None
        if kept is not None and not kept.reasons:
            return kept.name, {**report, "decision": "kept", "since": job.earlier, **kept.to_json()}
        why = kept.reasons if kept is not None else ["no codebook of this encoder and plan is there to keep"]
        name = codebook_id(job.plan, job.fingerprint, digest)
        if describe_codebook(job.root, name) is None:
            codebook = train_codebook(rows, job.plan, Path(scratch) if _is_large(rows) else None)
            fit = measure_fit(codebook, held_out, filling)
            write_codebook(job.root, name, codebook, job.plan, rows.rows, fit)
        described = describe_codebook(job.root, name)
        fit_now = described.fit.to_json() if described else None
        measured = kept.to_json() if kept is not None else {}
        return name, {**report, "decision": "trained", **measured, "reasons": why, "fit": fit_now}


def _check_enough(job: VersionJob, rows: int) -> None:
    plan = job.plan
    needed = max(plan.lists, 1 << int(plan.code[2:]) if plan.subquantizers else 1)
    if rows < needed:
        raise UsageError(
            f"{plan.factory} learns {needed:,} centroids, and only {rows:,} vectors of the snapshot can be trained on "
            "(those that are not finite or zero, and those that ask, cannot); use --factory Flat or fewer --queries"
        )


def _is_large(rows: RowStore) -> bool:
    return rows.rows * rows.dimension * 4 > IN_MEMORY


def gather_sample(samples: Sequence[str], plan: IndexPlan, scratch: Path | None) -> tuple[RowStore, bytes]:
    """The rows to train on, float32 [n, d] prepared, in the order of their partitions, and a digest of them."""
    # Keys first, and then the vectors of one sample at a time: all of them may be more than memory holds.
    drawn = [(np.array(sample.keys), np.array(digests)) for sample, digests in map(read_sample, samples)]
    keys, digests = (np.concatenate([each[place] for each in drawn]) for place in (0, 1))
    kept = kept_rows(keys, digests, plan.training_rows, max(_LEAST_ROWS_A_LIST * plan.lists, _LEAST_ROWS))
    count, dimension = int(kept.sum()), plan.dimension
    large = count * dimension * 4 > IN_MEMORY
    rows = RowStore(scratch / "sample" if large and scratch else None, count, dimension)
    digest, place, first = hashlib.sha256(), 0, 0
    for url in samples:
        sample = read_sample(url)[0]
        chosen = np.ascontiguousarray(sample.vectors[kept[first : first + len(sample.keys)]])
        first += len(sample.keys)
        digest.update(chosen.tobytes())
        rows.write(place, np.asarray(prepare(chosen, plan.metric), np.float32))
        place += len(chosen)
    return rows, digest.digest()


@dataclass(frozen=True)
class _Kept:
    name: str
    then: Fit
    now: Fit
    reasons: list[str]

    def to_json(self) -> dict[str, Any]:
        return {"fit_when_trained": self.then.to_json(), "fit_now": self.now.to_json(), "reasons": self.reasons}


def _earlier_codebook(job: VersionJob, held_out: np.ndarray, sample: np.ndarray) -> _Kept | None:
    """The codebook of the earlier version, measured as `measure_fit` says; None where it is of another plan or gone."""
    assert job.earlier is not None
    manifest = read_manifest(job.root, job.earlier)
    described = describe_codebook(job.root, manifest.codebook) if manifest.codebook else None
    if described is None or not manifest.codebook or not _same_codebook(described, job.plan):
        return None
    then, now = described.fit, measure_fit(read_codebook(job.root, manifest.codebook), held_out, sample)
    # The best that the index can do, not what it is served at: that may follow a clock.
    recalls = (manifest.training.get(name) for name in ("recall_when_trained", "best_recall"))
    return _Kept(manifest.codebook, then, now, reasons_to_retrain(then, now, *recalls))


def _same_codebook(described: DescribedCodebook, plan: IndexPlan) -> bool:
    """Whether a codebook serves the plan as one that is trained now would; the number of training rows may differ."""
    wanted = {name: value for name, value in plan.codebook_identity().items() if name != "training_rows"}
    same = all(described.plan.get(name) == value for name, value in wanted.items())
    return same and described.builder == BUILDER_VERSION


def codebook_to_use(job: VersionJob) -> Codebook | None:
    """The codebook that training decided on."""
    name = read_training(job).codebook
    return read_codebook(job.root, name) if name else None
