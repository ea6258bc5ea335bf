"""Everything that is wrong with a published version, not only the first of it."""

from __future__ import annotations

import contextlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from catalog import storage
from catalog.channel import Pointer
from catalog.errors import CatalogIndexerError, IntegrityError, UsageError
from catalog.manifest import Manifest, ManifestFile, manifest_url, version_folder
from catalog.version_log import read_log
from index_builder.publishing.holdings import files_by_folder
from index_builder.publishing.verify import check_stored, read_published, verified_copy

# Hashing lets go of the interpreter, so several files are read at once.
_READERS = 4


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        check: what was checked: a file of the version, or one of the checks of `deep_checkup`.
        ok: whether it is as it should be; what does not apply is.
        says: the sentence for people.
        bytes: of a file that was read back; None for other checks.
    """

    check: str
    ok: bool
    says: str
    bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_up(root: str, pointer: Pointer, deep: bool = False) -> list[Finding]:
    """Checks a version.

    Args:
        root: URL of ARTIFACTS/<name>.
        pointer: to the version.
        deep: open it too, ask it, and look at what it was made of.

    Returns:
        A finding for the manifest, for each file, and for each of the deep checks.
    """
    try:
        manifest = read_published(root, pointer)
        size = storage.size(manifest_url(root, pointer.version))
    except (CatalogIndexerError, OSError) as error:
        return [Finding("manifest.json", False, str(error))]
    findings = [Finding("manifest.json", True, f"{size:,} bytes, as published", size)]
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(_READERS) as readers:
        copies = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="catalog-indexer-"))) if deep else None
        findings += readers.map(lambda entry: _file(root, manifest, entry, copies), manifest.files)
        if copies is not None:
            from index_builder.publishing.deep_checkup import check_deeply

            findings += check_deeply(root, manifest, copies if all(each.ok for each in findings) else None)
    return findings


def _file(root: str, manifest: Manifest, entry: ManifestFile, copies: Path | None) -> Finding:
    """Checks a file where it is stored, or the copy of it that will be opened."""
    url = storage.join(version_folder(root, manifest.version), entry.path)
    try:
        if copies is None:
            check_stored(url, entry, manifest.version)
        else:
            verified_copy(url, entry, manifest.version, copies)
    except (IntegrityError, OSError) as error:
        return Finding(entry.path, False, str(error))
    return Finding(entry.path, True, f"{entry.bytes:,} bytes, as published", entry.bytes)


def versions_there(root: str) -> list[Pointer]:
    """The published versions, oldest first, without those that were collected. One whose manifest is gone and whose
    other files are not, is there.

    Raises:
        UsageError: nothing is published.
    """
    log = read_log(root)
    if not log:
        raise UsageError(f"{root}: nothing is published there; run catalog-indexer index first")
    latest = {entry.version: entry for entry in log}
    folders = files_by_folder(root, "versions")
    return [entry for entry in latest.values() if entry.version in folders]
