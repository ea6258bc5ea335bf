"""Publishing: files first, the manifest last and create-only, then the log. No channel moves here.

Whatever step a publisher dies at, the same build goes on from there: every step is harmless to repeat.
"""

from __future__ import annotations

import hashlib

from catalog import storage
from catalog.channel import Pointer
from catalog.errors import ConflictError
from catalog.manifest import Manifest, manifest_url, proves_itself, version_folder
from catalog.version_log import append_to_log, logged
from index_builder.publishing.marks import keep_build_from_collection, keep_from_collection
from index_builder.publishing.verify import missing


def publish(root: str, manifest: Manifest) -> tuple[Manifest, Pointer]:
    """Publishes a version whose files are stored.

    Args:
        root: URL of ARTIFACTS/<name>.
        manifest: of the version.

    Returns:
        The manifest that counts - an earlier try's, if that got so far - and the version's entry in the log.

    Raises:
        UsageError, IntegrityError: files of it, or of a version that it needs, are being deleted, or were.
    """
    url = manifest_url(root, manifest.version)
    for needed in manifest.needs:
        keep_from_collection(root, needed)
    # From here on the collector would have to begin anew; what it took before is missed now.
    keep_build_from_collection(root, manifest.version)
    folder = version_folder(root, manifest.version)
    there = set(storage.list_files(folder))
    for entry in manifest.files:
        if storage.join(folder, entry.path) not in there:
            raise missing(storage.join(folder, entry.path), manifest.version)
    try:
        storage.create(url, manifest.to_bytes())
    except ConflictError:
        manifest = Manifest.from_bytes(storage.read_bytes(url), url)
    return manifest, log_published(root, manifest.version)


def log_published(root: str, version: str) -> Pointer:
    """The entry in the log of a version whose manifest is stored; an earlier try may have died before it made one.

    Raises:
        IntegrityError: the manifest is damaged: no damaged one gets into the log.
    """
    url = manifest_url(root, version)
    data = storage.read_bytes(url)
    Manifest.from_bytes(data, url)  # Which is proven by its own sha256.
    if not proves_itself(data, url) and (there := logged(root, version)) is not None:
        return there  # Of schema version 1: the log alone proves it.
    return append_to_log(root, version, hashlib.sha256(data).hexdigest())
