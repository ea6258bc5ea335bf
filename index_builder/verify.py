"""Which version a channel points to, and the proof that its files are what was published."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from catalog import storage
from catalog.errors import IntegrityError, UsageError
from catalog.manifest import (
    Manifest,
    ManifestFile,
    Pointer,
    manifest_url,
    read_channel,
    read_log,
    sha256_of,
    version_folder,
)


def find_version(root: str, channel: str = "prod", version: str | None = None) -> Pointer:
    """The version that a channel points to, or the named one.

    Raises:
        UsageError: there is no such artifact, channel or version; the sentence lists what there is.
    """
    if version is None:
        pointer = read_channel(root, channel)
        if pointer is None:
            channels = [
                storage.name_of(u).removesuffix(".json") for u in storage.list_files(storage.join(root, "channels"))
            ]
            there = f"its channels are: {', '.join(channels)}" if channels else "nothing is published there"
            raise UsageError(f"{root} has no channel {channel!r}; {there}")
        return pointer
    log = read_log(root)
    for entry in reversed(log):
        if entry.version == version:
            return entry
    there = f"its versions are: {', '.join(entry.version for entry in log)}" if log else "nothing is published there"
    raise UsageError(f"{root} has no version {version!r}; {there}")


def verify(root: str, pointer: Pointer, parts: Sequence[int] | None = None) -> Manifest:
    """Reads back every byte of a version and compares it with what was published.

    Args:
        root: URL of ARTIFACTS/<name>.
        pointer: to the version.
        parts: numbers of the index files to read, for a consumer that opens no others; all of them if None.

    Returns:
        The manifest.

    Raises:
        IntegrityError: names the file that is missing, shortened or changed.
        UsageError: there is no such part.
    """
    url = manifest_url(root, pointer.version)
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        raise IntegrityError(f"{url} is missing; version {pointer.version} is not whole") from None
    if hashlib.sha256(data).hexdigest() != pointer.manifest_sha256:
        raise IntegrityError(f"{url} is damaged: its sha256 is not the published one")
    manifest = Manifest.from_bytes(data, url)
    unread = set(manifest.files_of("index")) - set(index_files(manifest, parts))
    for entry in manifest.files:
        if entry in unread:
            continue
        file = storage.join(version_folder(root, pointer.version), entry.path)
        try:
            found, size = sha256_of(file)
        except FileNotFoundError:
            raise IntegrityError(f"{file} is missing; version {pointer.version} is not whole") from None
        if size != entry.bytes:
            raise IntegrityError(f"{file} is damaged: it has {size:,} bytes, {entry.bytes:,} were published")
        if found != entry.sha256:
            raise IntegrityError(f"{file} is damaged: its sha256 is not the published one")
    return manifest


def index_files(manifest: Manifest, parts: Sequence[int] | None = None) -> list[ManifestFile]:
    """The index files with the numbers `parts`, all of them if None. Raises UsageError where there is no such part."""
    files = manifest.files_of("index")
    wanted = range(len(files)) if parts is None else sorted(set(parts))
    for number in wanted:
        if not 0 <= number < len(files):
            raise UsageError(f"version {manifest.version} has no part {number}; its parts are 0 to {len(files) - 1}")
    if parts is not None and not wanted:
        raise UsageError(f"no part of version {manifest.version} is named; its parts are 0 to {len(files) - 1}")
    return [files[number] for number in wanted]
