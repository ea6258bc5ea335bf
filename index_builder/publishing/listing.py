"""The published versions of an artifact, for people and scripts."""

from __future__ import annotations

from typing import Any

from catalog.channel import channel_names, read_channel
from catalog.errors import UsageError
from catalog.manifest import artifact_root, read_manifest
from catalog.version_log import read_log


def list_versions(artifacts: str, name: str) -> list[dict[str, Any]]:
    """One object a version, newest first: version, created_at, vectors, metric, index, recall, bytes (of all files) and
    the channels that point to it.

    Raises:
        UsageError: nothing is published under that name.
    """
    root = artifact_root(artifacts, name)
    log = read_log(root)
    if not log:
        raise UsageError(f"{root}: nothing is published there; run catalog-indexer index first")
    channels: dict[str, list[str]] = {}
    for channel in channel_names(root):
        pointer = read_channel(root, channel).pointer
        if pointer is not None:
            channels.setdefault(pointer.version, []).append(channel)
    versions = []
    for entry in reversed(log):
        manifest = read_manifest(root, entry.version)
        versions.append(
            {
                "version": manifest.version,
                "created_at": manifest.created_at,
                "vectors": manifest.vectors,
                "metric": manifest.metric,
                "index": manifest.index["factory"],
                "recall": manifest.recall,
                "bytes": sum(file.bytes for file in manifest.files),
                "channels": channels.get(entry.version, []),
            }
        )
    return versions
