"""The published versions of an artifact, for people and scripts."""

from __future__ import annotations

import datetime
from typing import Any

from catalog.channel import CANDIDATE
from catalog.errors import UsageError
from catalog.manifest import artifact_root
from index_builder.publishing.holdings import Holdings, look
from index_builder.publishing.marks import Marks, read_marks
from index_builder.publishing.reachable import seconds_since
from index_builder.publishing.verdict import Verdict


def list_versions(
    artifacts: str, name: str, collected: bool = False, now: datetime.datetime | None = None
) -> list[dict[str, Any]]:
    """One object a version, newest first.

    Args:
        artifacts: URL of the artifact store.
        name: of the artifact.
        collected: those too that are in the log only.
        now: the time, with its zone; that of the clock if None.

    Returns:
        `version`, `state` (`published`; `refused`: by a gate when it was built; `marked` or `deleting` by the
        collector; `damaged`; `collected`), `channels` that point to it, `rollback_of` (channels that go back to it
        first), `pins` (reasons), `sequence` in the log (None for one that is not in it yet), and of those whose
        manifest can be read `created_at`, `age_seconds`, `vectors`, `metric`, `index`, `recall`, `bytes` (of all
        files), `labels`, `refused_by` (gates), `parent`; of a damaged one `problem`.

    Raises:
        UsageError: nothing is published under that name.
    """
    root = artifact_root(artifacts, name)
    now = now or datetime.datetime.now(datetime.UTC)
    held = look(root)
    if not held.log:
        raise UsageError(f"{root}: nothing is published there; run catalog-indexer index first")
    marks = read_marks(root)[0]
    sequences = {entry.version: entry.sequence for entry in held.log}
    unlogged = sorted({*held.whole, *held.damaged} - sequences.keys())
    described = [_describe(held, marks, version, now) for version in [*held.order, *unlogged]]
    versions = [{**each, "sequence": sequences.get(each["version"])} for each in reversed(described)]
    return [each for each in versions if collected or each["state"] != "collected"]


def _describe(held: Holdings, marks: Marks, version: str, now: datetime.datetime) -> dict[str, Any]:
    channels = held.channels_of(version)
    known = {
        "version": version,
        "state": "collected",
        "channels": channels,
        "rollback_of": [each.name for each in held.channels if each.earlier and each.earlier[0].version == version],
        "pins": held.pins_of(version).reasons,
    }
    if version in held.damaged:
        return {**known, "state": "damaged", "problem": held.damaged[version]}
    if version not in held.whole:
        return known
    manifest = held.whole[version]
    mark = marks.get(f"versions/{version}")
    refused_by = [each.gate for each in map(Verdict.from_json, manifest.gates) if each.refuses]
    return {
        **known,
        "state": mark.state if mark else _published(channels, refused_by),
        "created_at": manifest.created_at,
        "age_seconds": seconds_since(manifest.created_at, now),
        "vectors": manifest.vectors,
        "metric": manifest.metric,
        "index": manifest.index["factory"],
        "recall": manifest.recall,
        "bytes": sum(file.bytes for file in manifest.files),
        "labels": manifest.labels,
        "refused_by": refused_by,
        "parent": manifest.parent,
    }


def _published(channels: list[str], refused_by: list[str]) -> str:
    """Refused, as long as nobody forced it onto a channel."""
    return "refused" if refused_by and set(channels) <= {CANDIDATE} else "published"
