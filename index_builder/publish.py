"""Publishing: files first, the manifest last and create-only, the log next, the channel by compare-and-swap.

Whatever step a publisher dies at, readers see the version before or the version after, and the same build goes on from
there: every step is harmless to repeat.
"""

from __future__ import annotations

import hashlib

from catalog import storage
from catalog.errors import CatalogIndexerError, ConflictError
from catalog.manifest import Manifest, Pointer, channel_url, manifest_url, read_log
from index_builder.verify import verify

_TRIES = 100


def publish(root: str, manifest: Manifest, channel: str) -> Manifest:
    """Publishes a version whose files are stored, and points a channel to it.

    Args:
        root: URL of ARTIFACTS/<name>.
        manifest: of the version.
        channel: to flip.

    Returns:
        The manifest that counts: an earlier try's, if that got so far.

    Raises:
        ConflictError: the channel was moved by another publisher meanwhile; the version itself is published.
    """
    url = manifest_url(root, manifest.version)
    try:
        storage.create(url, manifest.to_bytes())
    except ConflictError:
        manifest = Manifest.from_bytes(storage.read_bytes(url), url)
    pointer = append_to_log(root, manifest.version, hashlib.sha256(storage.read_bytes(url)).hexdigest())
    flip(root, channel, pointer)
    return manifest


def point_to_published(root: str, version: str, channel: str) -> None:
    """Points a channel to a version that is published already, or whose manifest an earlier try stored.

    Raises:
        IntegrityError: the version is not what was published; the channel stays where it is.
        ConflictError: see `flip`.
    """
    digest = hashlib.sha256(storage.read_bytes(manifest_url(root, version))).hexdigest()
    logged = [entry for entry in read_log(root) if entry.version == version]
    verify(root, logged[-1] if logged else Pointer(version, digest, 0))
    flip(root, channel, append_to_log(root, version, digest))


def append_to_log(root: str, version: str, manifest_sha256: str) -> Pointer:
    """The version's entry in the log, made if it is not there yet. Numbers are taken create-only, so none is lost."""
    for _ in range(_TRIES):
        log = read_log(root)
        for entry in log:
            if (entry.version, entry.manifest_sha256) == (version, manifest_sha256):
                return entry
        pointer = Pointer(version, manifest_sha256, log[-1].sequence + 1 if log else 1)
        try:
            storage.create(storage.join(root, "log", f"{pointer.sequence:06d}.json"), pointer.to_bytes())
            return pointer
        except ConflictError:
            continue  # Another publisher took the number: take the next.
    raise CatalogIndexerError(f"{root}/log: {_TRIES} other publishers were faster; run again")


def flip(root: str, channel: str, pointer: Pointer) -> None:
    """Points a channel to a published version. Raises ConflictError if it moved between the look and the swap."""
    url = channel_url(root, channel)
    there, token = storage.read_with_token(url)
    if there == pointer.to_bytes():
        return
    try:
        storage.compare_and_swap(url, pointer.to_bytes(), token)
    except ConflictError:
        raise ConflictError(
            f"channel {channel} was moved by another publisher; version {pointer.version} is published, and running "
            "the same command again points the channel to it"
        ) from None
