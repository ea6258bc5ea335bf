"""The stages of an index build, called one after the other without Beam, with the seconds of each.

`python -m benchmarks.build_stages STORE ROOT PLAN.json` builds in a process of its own and prints one JSON object, so
that another benchmark can measure its memory.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from catalog import storage
from catalog.import_vectors import ImportConfig, import_vectors
from catalog.manifest import version_folder
from catalog.snapshot import Snapshot, latest_snapshot
from catalog.vector_source import VectorInput
from index_builder.planning.index_plan import IndexPlan
from index_builder.stages.assembling import merge_codes, write_index_part
from index_builder.stages.encoding import encode_stretch
from index_builder.stages.sampling import sample_partition, sampled_rows
from index_builder.stages.training import codebook_to_use, gather_sample, read_queries, read_training, train
from index_builder.training.row_store import RowStore
from index_builder.version_job import VersionJob, version_id
from index_builder.work import WorkFolder, encoded_stretches, run_stretches, sampled_partitions


def import_store(vectors: str, store: Path, metric: str = "cosine") -> Snapshot:
    """An embedding store of the rows of a .npy file, each row's id its number."""
    import_vectors(ImportConfig(VectorInput((vectors,)), str(store), metric))
    return snapshot_of(store)


def snapshot_of(store: Path) -> Snapshot:
    """The newest snapshot, which must be there."""
    found = latest_snapshot(str(store))
    assert found is not None
    return found


def job_of(store: Path, root: Path, plan: IndexPlan, memory: int = 1 << 30) -> VersionJob:
    """A job without queries to speak of: no benchmark of building pays for evaluation."""
    snapshot = snapshot_of(store)
    job = VersionJob(str(root), "b", str(store), snapshot.encoder.fingerprint, snapshot.sequence, plan, "prod", 1)
    job = replace(job, memory=memory)
    return replace(job, version=version_id(job, snapshot))


def run_stages(job: VersionJob) -> dict[str, float]:
    """Builds the index file of a version; the seconds of each stage, and `total`."""
    snapshot = snapshot_of(Path(job.store))
    seconds: dict[str, float] = {}

    def timed(name: str, work: Any) -> None:
        started = time.perf_counter()
        work()
        seconds[name] = round(time.perf_counter() - started, 3)

    def sample() -> None:
        rows = sampled_rows(job, snapshot)
        for partition in sampled_partitions(snapshot, job):
            sample_partition(job, snapshot, partition, rows)

    timed("sample", sample)
    timed("train", lambda: train(job, snapshot))
    name, codebook = read_training(job).codebook, codebook_to_use(job)
    assert name is not None
    assert codebook is not None

    def encode() -> None:
        queries = read_queries(job)
        for stretch in encoded_stretches(snapshot):
            encode_stretch(job, snapshot, stretch, (name, codebook), queries)

    timed("encode", encode)

    def merge() -> None:
        for stretch in run_stretches(snapshot, job):
            merge_codes(job, snapshot, stretch, name)

    timed("merge", merge)
    timed("assemble", lambda: write_index_part(job, snapshot, 0, codebook))
    return {**seconds, "total": round(sum(seconds.values()), 3)}


def index_path(job: VersionJob) -> str:
    """The index file of a built version."""
    return storage.join(version_folder(job.root, job.version), "index.faiss")


def training_rows(job: VersionJob) -> np.ndarray:
    """float32 [n, d]: what the job trained on."""
    snapshot, folder = snapshot_of(Path(job.store)), WorkFolder(job)
    with tempfile.TemporaryDirectory() as scratch:
        samples = [folder.sample(each) for each in sampled_partitions(snapshot, job)]
        rows: RowStore = gather_sample(samples, job.plan, Path(scratch))[0]
        return np.array(rows.read(0, rows.rows))


def main() -> None:
    store, root, plan = Path(sys.argv[1]), Path(sys.argv[2]), IndexPlan(**json.loads(sys.argv[3]))
    job = job_of(store, root, plan)
    seconds = run_stages(job)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    name = read_training(job).codebook
    codebook = storage.size(storage.join(str(root), "codebooks", str(name), "codebook.faiss")) / 2**20
    print(json.dumps({"seconds": seconds, "peak_megabytes": round(peak), "codebook_megabytes": round(codebook, 1)}))


if __name__ == "__main__":
    main()
