"""The files of a version on this machine, every byte of them verified: where they lie, in the cache, or in a folder
of their own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from catalog import storage
from catalog.errors import IntegrityError
from catalog.manifest import Manifest, ManifestFile, version_folder
from index_builder.consuming.cache import Cache, CachedVersion
from index_builder.consuming.download import Wanted, bytes_to_come, download
from index_builder.consuming.hashing import find_damage
from index_builder.publishing.verify import files_to_open


class LocalFiles:
    """Verified files, by their path in the manifest, until `release`."""

    def __init__(self, paths: dict[str, Path], release: Callable[[], None]) -> None:
        self._paths = paths
        self._release = release

    def of(self, entries: Sequence[ManifestFile]) -> list[Path]:
        """Where files lie."""
        return [self._paths[entry.path] for entry in entries]

    def release(self) -> None:
        """Deletes them, or lets the cache do so. What is mapped into memory stays as it is."""
        release, self._release = self._release, _nothing
        release()


def _nothing() -> None:
    pass


def local_files(root: str, manifest: Manifest, parts: Sequence[int] | None, cache: Cache | None) -> LocalFiles:
    """Brings the files of a version here, if they are not, and verifies every byte of each.

    Args:
        root: URL of ARTIFACTS/<name>.
        manifest: of the version.
        parts: numbers of the index files; all of them if None.
        cache: for a version that is elsewhere; a folder that lives as long as the files if None.

    Raises:
        IntegrityError: a file is missing, shortened or changed.
        UsageError: there is no such part.
        NoSpaceError: the version does not fit into the cache.
        OSError: the store or the disk failed.
    """
    entries = files_to_open(manifest, parts)
    folder = version_folder(root, manifest.version)
    for entry in entries:
        if PurePosixPath(entry.path).is_absolute() or ".." in PurePosixPath(entry.path).parts:
            raise IntegrityError(f"{folder} is damaged: its manifest names the file {entry.path!r}")
    here = storage.store_for(root).local_path(folder)
    if here is not None:
        return _verified(here, entries, manifest.version)
    if cache is None:
        return _downloaded(folder, entries, manifest.version)
    held = cache.hold(root, manifest)
    try:
        _fill(held, folder, entries, manifest.version)
    except IntegrityError:
        held.forget()
        held.release()
        raise
    except BaseException:
        held.release()
        raise
    return LocalFiles({entry.path: held.folder / entry.path for entry in entries}, held.release)


def _verified(here: Path, entries: Sequence[ManifestFile], version: str) -> LocalFiles:
    paths = {entry.path: here / entry.path for entry in entries}
    for damage in find_damage([(paths[entry.path], entry) for entry in entries], version):
        if damage is not None:
            raise damage
    return LocalFiles(paths, _nothing)


def _downloaded(folder: str, entries: Sequence[ManifestFile], version: str) -> LocalFiles:
    scratch = tempfile.TemporaryDirectory(prefix="catalog-indexer-")
    wanted = [_wanted(folder, Path(scratch.name), entry) for entry in entries]
    try:
        download(wanted, version)
    except BaseException:
        scratch.cleanup()
        raise
    return LocalFiles({each.entry.path: each.path for each in wanted}, scratch.cleanup)


def _wanted(folder: str, here: Path, entry: ManifestFile) -> Wanted:
    return Wanted(storage.join(folder, entry.path), here / entry.path, entry)


def _fill(held: CachedVersion, folder: str, entries: Sequence[ManifestFile], version: str) -> None:
    """Downloads what the cache lacks, and what it has and is damaged.

    Only downloads wait for one another: what is there is hashed by all processes that open it, at the same time.
    """
    unproven = [_wanted(folder, held.folder, entry) for entry in entries]
    while unproven:
        seen = {each.path: _identity(each.path) for each in unproven}
        found = find_damage([(each.path, each.entry) for each in unproven], version)
        unproven = [each for each, damage in zip(unproven, found, strict=True) if damage is not None]
        if not unproven:
            return
        with held.downloading():
            # Somebody else may have downloaded some of them meanwhile: those are proven in the next round.
            lacking = [each for each in unproven if _identity(each.path) == seen[each.path]]
            for each in lacking:
                each.path.unlink(missing_ok=True)  # Whoever has it mapped keeps it.
            if lacking:
                held.make_room(bytes_to_come(lacking))
                download(lacking, version)
        unproven = [each for each in unproven if each not in lacking]


def _identity(path: Path) -> tuple[int, int] | None:
    """What changes when a file is replaced; None where there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns
