"""Versions of before: last night's, whose codebook and number of lists are kept, and this one, built already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from catalog.channel import Pointer
from catalog.errors import IntegrityError, UsageError
from catalog.manifest import Manifest
from catalog.snapshot import Snapshot
from catalog.version_log import read_log
from index_builder.planning.factory import factory_string
from index_builder.planning.index_plan import IndexPlan
from index_builder.publishing.verify import read_published
from index_builder.training.drift import MOST_GROWTH
from index_builder.version_job import VersionJob, version_id


def earlier_version(root: str, store: str, snapshot: Snapshot) -> Manifest | None:
    """The newest published version of an older snapshot of the store with the same encoder, that has a codebook; None
    if there is none. Versions of the same snapshot do not count: the same command must give the same version."""
    for entry in reversed(read_log(root)):
        manifest = _readable(root, entry)
        if manifest is None or manifest.source["store"] != store:
            continue
        same = manifest.encoder.fingerprint == snapshot.encoder.fingerprint and manifest.codebook
        if same and int(manifest.source["snapshot"]) < snapshot.sequence:
            return manifest
    return None


def built_before(root: str, job: VersionJob, snapshot: Snapshot, lists_may_stay: bool) -> VersionJob | None:
    """The job of a published version of the snapshot by the same settings, with the earlier version that it had: which
    may be gone by now, and then the same command would be another version.

    Args:
        root: URL of ARTIFACTS/<name>.
        job: wanted, without an earlier version.
        snapshot: of the job.
        lists_may_stay: `keep_lists` may have changed the plan, for it is not one that was asked for by its factory.
    """
    for entry in reversed(read_log(root)):
        if not entry.version.startswith(f"{snapshot.sequence:06d}-"):
            continue
        manifest = _readable(root, entry)
        if manifest is None:
            continue
        kept = lists_may_stay and manifest.earlier is not None
        if _same_plan(manifest.index, job.plan, ("lists", "hnsw_links", "factory") if kept else ()):
            plan = IndexPlan(**manifest.index)
            again = replace(job, plan=plan, earlier=manifest.earlier)
            if version_id(again, snapshot) == manifest.version:
                return replace(again, version=manifest.version)
    return None


def _same_plan(there: dict[str, Any], plan: IndexPlan, free: Sequence[str]) -> bool:
    """Whether a plan is the wanted one, but for what is `free`."""
    wanted = {name: value for name, value in plan.identity().items() if name not in free}
    return wanted == {name: value for name, value in there.items() if name not in (*free, "why")}


def _readable(root: str, entry: Pointer) -> Manifest | None:
    try:
        return read_published(root, entry)
    except (IntegrityError, UsageError):
        return None  # A damaged version, or one of a later release, is no reason not to build a good one.


def keep_lists(plan: IndexPlan, earlier: Manifest, vectors: int) -> IndexPlan:
    """The plan with the earlier version's number of lists, unless the catalog has grown or shrunk so that more
    than twice as many would be planned, or less than half."""
    there = earlier.index
    if not plan.lists or not there.get("lists") or there["lists"] == plan.lists:
        return plan
    ratio = plan.lists / there["lists"]
    kept = replace(
        plan,
        lists=there["lists"],
        hnsw_links=there.get("hnsw_links", 0),  # Plans of older versions knew no graph.
        why=f"{plan.why}; {there['lists']} lists as before",
    )
    kept = replace(kept, factory=factory_string(kept))
    return kept if 1 / MOST_GROWTH <= ratio <= MOST_GROWTH and vectors >= 39 * kept.lists else plan
