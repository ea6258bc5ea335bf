"""Last night's version: where the codebook to keep comes from, and a reason not to change the number of lists."""

from __future__ import annotations

from dataclasses import replace

from catalog.errors import IntegrityError
from catalog.manifest import Manifest, read_manifest
from catalog.snapshot import Snapshot
from catalog.version_log import read_log
from index_builder.planning.factory import factory_string
from index_builder.planning.index_plan import IndexPlan
from index_builder.training.drift import MOST_GROWTH


def earlier_version(root: str, snapshot: Snapshot) -> Manifest | None:
    """The newest published version of an older snapshot with the same encoder, that has a codebook; None if there is
    none. Versions of the same snapshot do not count: the same command must give the same version."""
    for entry in reversed(read_log(root)):
        try:
            manifest = read_manifest(root, entry.version)
        except IntegrityError:
            continue  # A damaged version is no reason not to build a good one.
        same = manifest.encoder.fingerprint == snapshot.encoder.fingerprint and manifest.codebook
        if same and int(manifest.source["snapshot"]) < snapshot.sequence:
            return manifest
    return None


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
