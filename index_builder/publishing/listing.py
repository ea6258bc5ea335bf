"""The published versions of an artifact, for people and scripts."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from catalog.channel import CANDIDATE, Channel
from catalog.errors import UsageError
from catalog.manifest import artifact_root
from index_builder.publishing.holdings import Holdings, look
from index_builder.publishing.marks import Marks, read_marks
from index_builder.publishing.reachable import seconds_since
from index_builder.publishing.verdict import Verdict


@dataclass(frozen=True)
class Listing:
    """What is published.

    Attributes:
        versions: newest first, an object each: `version`, `state` (`published`; `refused`: by a gate when it was built;
            `marked` or `deleting` by the collector; `damaged`; `collected`), `channels` that point to it,
            `rollback_of` (channels that go back to it first), `pins` (reasons), `sequence` in the log (None for one
            that is not in it yet), and of those whose manifest can be read `created_at`, `age_seconds`, `vectors`,
            `metric`, `index`, `recall`, `bytes` (of all files), `labels`, `refused_by` (gates), `parent`; of a damaged
            one `problem`.
        damaged_channels: by name, why a channel cannot be read. No version says that such a channel points to it.
    """

    versions: list[dict[str, Any]]
    damaged_channels: dict[str, str]


def list_versions(artifacts: str, name: str, collected: bool = False, now: datetime.datetime | None = None) -> Listing:
    """The versions of an artifact.

    Args:
        artifacts: URL of the artifact store.
        name: of the artifact.
        collected: those too that are in the log only.
        now: the time, with its zone; that of the clock if None.

    Raises:
        UsageError: nothing is published under that name.
        IntegrityError: a pin, the log or the marks are damaged.
    """
    root = artifact_root(artifacts, name)
    now = now or datetime.datetime.now(datetime.UTC)
    held = look(root, list_damaged_channels=True)
    if not held.log:
        raise UsageError(f"{root}: nothing is published there; run catalog-indexer index first")
    marks = read_marks(root)[0]
    sequences = {entry.version: entry.sequence for entry in held.log}
    unlogged = sorted({*held.whole, *held.damaged} - sequences.keys())
    described = [_describe(held, marks, version, now) for version in [*held.order, *unlogged]]
    versions = [{**each, "sequence": sequences.get(each["version"])} for each in reversed(described)]
    return Listing([each for each in versions if collected or each["state"] != "collected"], held.damaged_channels)


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
        "state": mark.state if mark else _published(held, version, refused_by),
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


def _published(held: Holdings, version: str, refused_by: list[str]) -> str:
    """Refused, if nobody ever forced it onto a channel, as far as channels remember."""
    forced = any(version in _seen(channel) for channel in held.channels if channel.name != CANDIDATE)
    return "refused" if refused_by and not forced else "published"


def _seen(channel: Channel) -> set[str | None]:
    """The versions that a channel has pointed to."""
    pointers = {each.version for each in (channel.pointer, *channel.earlier) if each is not None}
    return {*pointers, *(move.version for move in channel.moves), *(move.came_from for move in channel.moves)}
