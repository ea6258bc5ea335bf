"""Which version a channel points to, and the proof that its files are what was published."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from catalog import storage
from catalog.channel import Pointer, channel_names, read_channel
from catalog.errors import IntegrityError, UsageError
from catalog.manifest import Manifest, ManifestFile, manifest_url, sha256_of, version_folder
from catalog.version_log import read_log


def find_version(root: str, channel: str = "prod", version: str | None = None) -> Pointer:
    """The version that a channel points to, or the named one.

    Raises:
        UsageError: there is no such artifact, channel or version; the sentence lists what there is.
    """
    if version is None:
        pointer = read_channel(root, channel).pointer
        if pointer is None:
            channels = channel_names(root)
            there = f"its channels are: {', '.join(channels)}" if channels else "nothing is published there"
            raise UsageError(f"{root} has no channel {channel!r}; {there}")
        return pointer
    log = read_log(root)
    for entry in reversed(log):
        if entry.version == version:
            return entry
    there = f"its versions are: {', '.join(entry.version for entry in log)}" if log else "nothing is published there"
    raise UsageError(f"{root} has no version {version!r}; {there}")


def read_published(root: str, pointer: Pointer) -> Manifest:
    """The manifest of a version, if it is the published one. Raises IntegrityError."""
    url = manifest_url(root, pointer.version)
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        raise IntegrityError(f"{url} is missing; version {pointer.version} was collected, or is not whole") from None
    if hashlib.sha256(data).hexdigest() != pointer.manifest_sha256:
        raise IntegrityError(f"{url} is damaged: its sha256 is not the published one")
    return Manifest.from_bytes(data, url)


def read_verified(root: str, version: str, entry: ManifestFile) -> bytes:
    """The bytes of a small file of a version. Raises IntegrityError where they are not what was published."""
    url = storage.join(version_folder(root, version), entry.path)
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        raise missing(url, version) from None
    check_file(url, entry, hashlib.sha256(data).hexdigest(), len(data))
    return data


def check_file(url: str, entry: ManifestFile, sha256: str, size: int) -> None:
    """Raises IntegrityError where a file has not the published size and sha256."""
    if size != entry.bytes:
        raise IntegrityError(f"{url} is damaged: it has {size:,} bytes, {entry.bytes:,} were published")
    if sha256 != entry.sha256:
        raise IntegrityError(f"{url} is damaged: its sha256 is not the published one")


def missing(url: str, version: str) -> IntegrityError:
    """The error for a file of a version that is not there."""
    return IntegrityError(f"{url} is missing; version {version} is not whole")


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
    manifest = read_published(root, pointer)
    verify_files(root, manifest, parts)
    return manifest


def verify_files(root: str, manifest: Manifest, parts: Sequence[int] | None = None) -> None:
    """`verify` of the files that a manifest names."""
    for entry in files_to_open(manifest, parts):
        check_stored(storage.join(version_folder(root, manifest.version), entry.path), entry, manifest.version)


def check_stored(url: str, entry: ManifestFile, version: str) -> None:
    """Reads a file of a version. Raises IntegrityError where it is not the published one."""
    try:
        found, size = sha256_of(url)
    except FileNotFoundError:
        raise missing(url, version) from None
    check_file(url, entry, found, size)


def verified_copy(url: str, entry: ManifestFile, version: str, folder: Path) -> Path:
    """A local path with a file of a version, of which every byte was verified: the file itself on a local disk, else a
    download into `folder`, which is what is hashed. Raises IntegrityError where it is not the published one."""
    try:
        path = storage.local_copy(url, folder)
        found, size = sha256_of(str(path))
    except FileNotFoundError:
        raise missing(url, version) from None
    check_file(url, entry, found, size)
    return path


def files_to_open(manifest: Manifest, parts: Sequence[int] | None = None) -> list[ManifestFile]:
    """The files of a version for a consumer of some of its parts. Raises UsageError where there is no such part."""
    unread = set(manifest.files_of("index")) - set(index_files(manifest, parts))
    return [entry for entry in manifest.files if entry not in unread]


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
