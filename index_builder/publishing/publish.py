"""Publishing: files first, the manifest last and create-only, then the log. No channel moves here.

Whatever step a publisher dies at, the same build goes on from there: every step is harmless to repeat.
"""

from __future__ import annotations

import hashlib

from catalog import storage
from catalog.channel import Pointer
from catalog.errors import ConflictError
from catalog.manifest import Manifest, manifest_url
from catalog.version_log import append_to_log
from index_builder.publishing.marks import keep_from_collection


def publish(root: str, manifest: Manifest) -> tuple[Manifest, Pointer]:
    """Publishes a version whose files are stored.

    Args:
        root: URL of ARTIFACTS/<name>.
        manifest: of the version.

    Returns:
        The manifest that counts - an earlier try's, if that got so far - and the version's entry in the log.

    Raises:
        UsageError, IntegrityError: a version that it needs is being deleted, or was.
    """
    url = manifest_url(root, manifest.version)
    for needed in manifest.needs:
        keep_from_collection(root, needed)
    try:
        storage.create(url, manifest.to_bytes())
    except ConflictError:
        manifest = Manifest.from_bytes(storage.read_bytes(url), url)
    return manifest, log_published(root, manifest.version)


def log_published(root: str, version: str) -> Pointer:
    """The entry in the log of a version whose manifest is stored; an earlier try may have died before it made one."""
    digest = hashlib.sha256(storage.read_bytes(manifest_url(root, version))).hexdigest()
    return append_to_log(root, version, digest)
