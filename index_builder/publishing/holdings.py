"""What an artifact store holds under one name, read in one go: versions, channels, pins, and what builds have left."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from catalog import storage
from catalog.channel import Channel, Pointer, channel_names, read_channel
from catalog.errors import CatalogIndexerError, IntegrityError
from catalog.manifest import Manifest, manifest_url
from catalog.version_log import read_log
from index_builder.publishing.pins import Pins, all_pins, pins_of

# Requests that are under way at once.
_READERS = 16


@dataclass(frozen=True)
class Holdings:
    """What there is.

    Attributes:
        log: every version that was ever published, oldest first.
        whole: by version, the manifests of those that are there.
        damaged: by version, why its manifest cannot be read, or is not the published one.
        channels: all of them that can be read.
        pins: by version, the pins that are stored.
        folders: by version, the files below `versions/<version>`, as paths below ARTIFACTS/<name>.
        work: by version, the files below `work/<version>`.
        damaged_channels: by name, why a channel cannot be read; only for those who list them.
    """

    log: list[Pointer]
    whole: dict[str, Manifest]
    damaged: dict[str, str]
    channels: list[Channel]
    pins: dict[str, Pins]
    folders: dict[str, list[str]]
    work: dict[str, list[str]]
    damaged_channels: dict[str, str] = field(default_factory=dict)

    @property
    def order(self) -> list[str]:
        """The versions in the log, oldest first; one that was built again counts where it is last."""
        return list(reversed(dict.fromkeys(entry.version for entry in reversed(self.log))))

    def pins_of(self, version: str) -> Pins:
        """The pins of a version that count."""
        if version in self.whole:
            return pins_of(self.whole[version], self.pins.get(version))
        return self.pins.get(version, Pins())

    def channels_of(self, version: str) -> list[str]:
        """The channels that point to a version."""
        return [each.name for each in self.channels if each.pointer is not None and each.pointer.version == version]


def look(root: str, known: dict[str, Manifest] | None = None, list_damaged_channels: bool = False) -> Holdings:
    """Reads everything. What appears or goes meanwhile may be in it or not.

    Args:
        root: URL of ARTIFACTS/<name>.
        known: manifests that were read before, which do not change; they are not read again if they are still there.
        list_damaged_channels: for those who delete nothing.

    Raises:
        IntegrityError: a channel, a pin or the log is damaged.
    """
    folders = files_by_folder(root, "versions")
    work = files_by_folder(root, "work")
    log = read_log(root)
    published: dict[str, set[str]] = defaultdict(set)
    for entry in log:
        published[entry.version].add(entry.manifest_sha256)
    there = [version for version, files in folders.items() if f"versions/{version}/manifest.json" in files]
    known = known or {}
    whole = {version: known[version] for version in there if version in known}
    damaged: dict[str, str] = {}
    unread = [version for version in there if version not in whole]
    with ThreadPoolExecutor(_READERS) as readers:
        for version, found in zip(
            unread, readers.map(lambda each: _read(root, each, published[each]), unread), strict=True
        ):
            if isinstance(found, Manifest):
                whole[version] = found
            elif found is not None:
                damaged[version] = found
    channels, damaged_channels = [], {}
    for name in channel_names(root):
        try:
            channels.append(read_channel(root, name))
        except CatalogIndexerError as error:
            if not list_damaged_channels:
                raise
            damaged_channels[name] = str(error)
    return Holdings(log, whole, damaged, channels, all_pins(root), folders, work, damaged_channels)


def _read(root: str, version: str, published: set[str]) -> Manifest | str | None:
    """The manifest, or what is wrong with it; None where it went meanwhile."""
    url = manifest_url(root, version)
    try:
        data = storage.read_bytes(url)
        if published and hashlib.sha256(data).hexdigest() not in published:
            raise IntegrityError(f"{url} is damaged: its sha256 is not the published one")
        return Manifest.from_bytes(data, url)
    except FileNotFoundError:
        return None
    except CatalogIndexerError as error:
        return str(error)


def files_by_folder(root: str, folder: str) -> dict[str, list[str]]:
    """By the name of each folder in `folder`, the files below it, as paths below ARTIFACTS/<name>."""
    found: dict[str, list[str]] = defaultdict(list)
    start = storage.join(root, folder)
    for url in storage.list_files(start):
        path = url[len(start) + 1 :]
        if "/" in path:
            found[path.split("/", 1)[0]].append(f"{folder}/{path}")
    return dict(found)
