"""Files on this machine, hashed side by side."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from catalog.errors import IntegrityError
from catalog.manifest import ManifestFile
from index_builder.publishing.verify import check_file, missing

# Between two of these a thread needs Python's lock, which searches hold: few, and no more memory than is worth it.
_CHUNK = 4 << 20
_THREADS = 4


def hash_file(path: Path, digest: hashlib._Hash | None = None, most: int | None = None) -> tuple[hashlib._Hash, int]:
    """Feeds a file to a digest (a new sha256 if None); of a file longer than `most`, its first `most` bytes.

    Returns:
        The digest, and how many bytes it was fed.
    """
    digest = digest or hashlib.sha256()
    buffer, size = memoryview(bytearray(_CHUNK)), 0
    with path.open("rb", buffering=0) as file:
        while got := file.readinto(buffer[: _CHUNK if most is None else min(_CHUNK, most - size)]):
            digest.update(buffer[:got])
            size += got
    return digest, size


def find_damage(files: Sequence[tuple[Path, ManifestFile]], version: str) -> list[IntegrityError | None]:
    """For each file of a version, why it is not what was published; None if it is. One that is missing is damaged."""
    if not files:
        return []
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1, len(files))) as pool:
        # The largest first, so that no thread begins it when the others are done.
        order = sorted(range(len(files)), key=lambda place: -files[place][1].bytes)
        found = dict(zip(order, pool.map(lambda place: _damage(*files[place], version), order), strict=True))
    return [found[place] for place in range(len(files))]


def _damage(path: Path, entry: ManifestFile, version: str) -> IntegrityError | None:
    try:
        size = path.stat().st_size
        # Of another length there is no need to read it.
        digest = hash_file(path)[0].hexdigest() if size == entry.bytes else ""
        check_file(str(path), entry, digest, size)
    except FileNotFoundError:
        return missing(str(path), version)
    except IntegrityError as error:
        return error
    return None
