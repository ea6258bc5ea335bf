"""Everything that is wrong with a published version, not only the first of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from catalog import storage
from catalog.channel import Pointer
from catalog.errors import CatalogIndexerError, IntegrityError
from catalog.manifest import Manifest, ManifestFile, sha256_of, version_folder
from index_builder.publishing.verify import check_file, missing, read_published

# Hashing lets go of the interpreter, so several files are read at once.
_READERS = 4


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        check: what was checked: a file of the version, or one of the checks of `deep_checkup`.
        ok: whether it is as it should be; what does not apply is.
        says: the sentence for people.
    """

    check: str
    ok: bool
    says: str

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
    except CatalogIndexerError as error:
        return [Finding("manifest.json", False, str(error))]
    findings = [Finding("manifest.json", True, f"as entry {pointer.sequence} of the log has it")]
    with ThreadPoolExecutor(_READERS) as readers:
        findings += readers.map(lambda entry: _file(root, manifest, entry), manifest.files)
    if deep:
        from index_builder.publishing.deep_checkup import check_deeply

        findings += check_deeply(root, manifest, whole=all(each.ok for each in findings))
    return findings


def _file(root: str, manifest: Manifest, entry: ManifestFile) -> Finding:
    url = storage.join(version_folder(root, manifest.version), entry.path)
    try:
        found, size = sha256_of(url)
        check_file(url, entry, found, size)
    except FileNotFoundError:
        return Finding(entry.path, False, str(missing(url, manifest.version)))
    except (IntegrityError, OSError) as error:
        return Finding(entry.path, False, str(error))
    return Finding(entry.path, True, f"{size:,} bytes, as published")
