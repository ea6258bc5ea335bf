"""How far a build is, told by what its units have stored, which every runner makes alike."""

from __future__ import annotations

from catalog import storage
from catalog.manifest import manifest_url
from catalog.snapshot import Snapshot
from index_builder.version_job import VersionJob
from index_builder.work import WorkFolder, encoded_stretches, run_stretches, sampled_partitions, shards

WHOLE = 1_000
# Thousandths of a build that each stage takes; about what `python -m benchmarks.index` shows, evaluation included.
_WORTH = {"sample": 70, "train": 330, "truth": 350, "runs": 50, "files": 100}
_NAMES = {"sample": "sampling", "train": "training", "truth": "encoding", "runs": "merging", "files": "assembling"}


def units_by_stage(job: VersionJob, snapshot: Snapshot) -> dict[str, int]:
    """How many units each stage has, by the folder that they store to."""
    files = job.plan.parts + len(shards(snapshot)) * (2 if job.plan.refine else 1)
    return {
        "sample": len(sampled_partitions(snapshot, job)),
        "train": 1,
        "truth": len(encoded_stretches(snapshot)),
        "runs": len(run_stretches(snapshot, job)) if job.plan.lists else 0,
        "files": files,
    }


def look(job: VersionJob, units: dict[str, int]) -> tuple[int, str]:
    """Thousandths of the build that are done, and what it is at.

    Args:
        job: which build.
        units: from `units_by_stage`.
    """
    if storage.exists(manifest_url(job.root, job.version)):
        return WHOLE, "published"
    folder = WorkFolder(job).url
    done = dict.fromkeys(units, 0)
    for url in storage.list_files(folder):
        stage = url.removeprefix(folder).strip("/").split("/")[0]
        if stage == "training.json":
            done["train"] = 1
        elif stage in done and not url.endswith(".queries"):
            done[stage] += 1
    share = sum(_WORTH[stage] * done[stage] // units[stage] for stage in units if units[stage])
    under_way = next((_NAMES[stage] for stage in units if done[stage] < units[stage]), "evaluating")
    return share, under_way
