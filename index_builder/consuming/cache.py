"""The cache of a machine: versions from object stores, each downloaded once, whoever opens it.

CACHE/<artifact>/<version>-<hash>/index.faiss, …      whole files only, besides NAME.part
CACHE/<artifact>/<version>-<hash>.open                shared lock: somebody has the version open
CACHE/<artifact>/<version>-<hash>.download            exclusive lock: somebody downloads it
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from contextlib import AbstractContextManager
from pathlib import Path

from catalog import storage
from catalog.errors import CatalogIndexerError, UsageError
from catalog.manifest import Manifest
from index_builder.consuming.locks import FileLock, alone

VARIABLE = "CATALOG_INDEXER_CACHE"
#: Versions of an artifact that stay: the one that was opened last and the two before it.
KEPT = 3
# Left free for others on the same disk.
_SPARE_BYTES = 64 << 20


class NoSpaceError(CatalogIndexerError):
    """A version does not fit on the disk."""


class Cache:
    """A folder of downloaded versions, which many processes share.

    Args:
        folder: where; $CATALOG_INDEXER_CACHE if None, else ~/.cache/catalog-indexer.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        chosen = folder or os.environ.get(VARIABLE) or "~/.cache/catalog-indexer"
        self.folder = Path(os.path.expanduser(chosen)).absolute()

    def hold(self, root: str, manifest: Manifest) -> CachedVersion:
        """A place for a version, which stays there until it is released.

        Args:
            root: URL of ARTIFACTS/<name>.
            manifest: of the version.

        Raises:
            UsageError: the folder cannot be written.
        """
        key = hashlib.sha256(manifest.to_bytes()).hexdigest()[:12]
        artifact = f"{storage.name_of(root)}-{hashlib.sha256(root.encode()).hexdigest()[:12]}"
        try:
            return CachedVersion(self.folder / artifact / f"{manifest.version}-{key}")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UsageError(
                f"the cache {self.folder} cannot be used: {error.strerror}; name another one by cache= or ${VARIABLE}"
            ) from None


class CachedVersion:
    """The folder of one version, held: nobody prunes it before `release`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        lock = FileLock.take(_lock(folder, "open"), exclusive=False)
        assert lock is not None
        self._lock = lock
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(lock.path, (time.time(),) * 2)  # By which the versions that were opened last are known.

    def downloading(self) -> AbstractContextManager[None]:
        """While its body runs, nobody else downloads this version; waits for whoever does."""
        return alone(_lock(self.folder, "download"))

    def make_room(self, size: int) -> None:
        """Takes away versions that nobody has open: more than usual, where the disk is short.

        Raises:
            NoSpaceError: `size` bytes do not fit all the same.
        """
        # One more than usual: nobody knows yet whether the new version is any good.
        for kept in range(KEPT + 1, 0, -1):
            prune(self.folder.parent, kept)
            free = shutil.disk_usage(self.folder).free
            if size + _SPARE_BYTES <= free:
                return
        raise NoSpaceError(
            f"{self.folder.parent} has no room for version {self.folder.name}: {size:,} bytes are to be downloaded and "
            f"{max(0, free - _SPARE_BYTES):,} are free there; make room, or name another disk by cache= or ${VARIABLE}"
        )

    def forget(self) -> None:
        """Notes that the version is no good: it is the first to go."""
        os.utime(self._lock.path, (0, 0))

    def release(self) -> None:
        """Lets the version go, and takes away versions that nobody needs."""
        self._lock.release()
        prune(self.folder.parent)


def prune(artifact: Path, kept: int = KEPT) -> None:
    """Deletes the versions of an artifact that are not open, but for the `kept` that were opened last."""
    locks = sorted(artifact.glob("*.open"), key=_opened, reverse=True)
    for path in locks[kept:]:
        lock = FileLock.take(path, exclusive=True, wait=False)
        if lock is None:
            continue
        try:
            folder = path.with_suffix("")
            shutil.rmtree(folder, ignore_errors=True)
            _lock(folder, "download").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        finally:
            lock.release()


def _opened(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # Somebody else prunes as well.
        return 0.0


def _lock(folder: Path, kind: str) -> Path:
    return folder.with_name(f"{folder.name}.{kind}")
