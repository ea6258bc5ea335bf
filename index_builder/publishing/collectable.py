"""All that a collector could delete, and what speaks against it: versions, what builds have left, codes, codebooks."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from catalog import canonical_json, storage
from catalog.errors import CatalogIndexerError
from catalog.manifest import Manifest
from catalog.snapshot import Snapshot
from index_builder.assembly.code_files import codes_url
from index_builder.publishing.holdings import Holdings, files_by_folder
from index_builder.publishing.marks import DELETING, Marks
from index_builder.publishing.reachable import Retention, reasons_to_keep
from index_builder.publishing.verify import read_verified

VERSION, BUILD, CODES, CODEBOOK = "version", "build", "codes", "codebook"
_READERS = 16


@dataclass(frozen=True)
class Thing:
    """Something that could be deleted.

    Attributes:
        path: below ARTIFACTS/<name>, by which it is marked.
        kind: `version`, `build`, `codes` or `codebook`.
        files: paths below ARTIFACTS/<name>.
        stays: why it is not deleted; empty if it may go.
        grace: seconds between the mark and the deletion.
        digest: of the names of its files, for what may still grow.
    """

    path: str
    kind: str
    files: tuple[str, ...]
    stays: tuple[str, ...]
    grace: float
    digest: str = ""


def collectable(
    root: str, held: Holdings, marks: Marks, retention: Retention, now: datetime.datetime
) -> dict[str, Thing]:
    """By path, everything that is marked or deleted as a whole.

    Args:
        root: URL of ARTIFACTS/<name>.
        held: what there is.
        marks: of the collector.
        retention: what stays without being asked for.
        now: the time, with its zone.
    """
    deleting = {path.split("/")[1] for path, mark in marks.items() if mark.state == DELETING and _is_version(path)}
    reasons = reasons_to_keep(held, retention, now, deleting)
    things = [*_versions(held, marks, reasons, retention), *_builds(held, marks, retention)]
    kept = [manifest for version, manifest in held.whole.items() if reasons[version]]
    things += _codes(root, kept, retention)
    return {each.path: each for each in things}


def _is_version(path: str) -> bool:
    return path.startswith("versions/")


def _versions(held: Holdings, marks: Marks, reasons: Mapping[str, list[str]], retention: Retention) -> Iterable[Thing]:
    for version, files in sorted(held.folders.items()):
        path = f"versions/{version}"
        if version in reasons:
            yield Thing(path, VERSION, tuple(files), tuple(reasons[version]), retention.grace)
        elif _half_deleted(marks, version):
            yield Thing(path, VERSION, tuple(files), (), retention.grace)


def _half_deleted(marks: Marks, version: str) -> bool:
    """Whether a folder without a manifest is what a collector that died has left of a version."""
    mark = marks.get(f"versions/{version}")
    return mark is not None and mark.state == DELETING


def _builds(held: Holdings, marks: Marks, retention: Retention) -> Iterable[Thing]:
    """By `work/<version>`, that folder and the version's where it has no manifest: of a build that goes on, or not."""
    manifests = {*held.whole, *held.damaged}
    for version in sorted({*held.folders, *held.work}):
        files = list(held.work.get(version, ()))
        if version not in manifests and not _half_deleted(marks, version):
            files += held.folders.get(version, ())
        if files:
            digest = hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest()
            yield Thing(f"work/{version}", BUILD, tuple(files), (), retention.abandoned, digest)


def _codes(root: str, kept: Iterable[Manifest], retention: Retention) -> Iterable[Thing]:
    """Codebooks, and codes of embedding files, that no version uses that stays. They can be made again."""
    used: dict[str, set[str] | None] = {}
    manifests = [manifest for manifest in kept if manifest.codebook]
    with ThreadPoolExecutor(_READERS) as readers:
        for manifest, files in zip(
            manifests, readers.map(lambda each: _code_files(root, each), manifests), strict=True
        ):
            before = used.get(str(manifest.codebook), set())
            used[str(manifest.codebook)] = None if files is None or before is None else before | files
    for codebook, paths in sorted(files_by_folder(root, "codebooks").items()):
        stays = ("used by a version that stays",) if codebook in used else ()
        yield Thing(f"codebooks/{codebook}", CODEBOOK, tuple(paths), stays, retention.grace)
    for codebook, paths in sorted(files_by_folder(root, "codes").items()):
        names = used.get(codebook, set())
        for path in paths:
            stays = ("used by a version that stays",) if names is None or path in names else ()
            yield Thing(path, CODES, (path,), stays, retention.grace)


def _code_files(root: str, manifest: Manifest) -> set[str] | None:
    """The codes of the embedding files of a version, as paths below ARTIFACTS/<name>; None where it does not say which
    files it is made of."""
    entry = manifest.file("source")
    if entry is None:
        return None
    try:
        snapshot = canonical_json.parse(
            read_verified(root, manifest.version, entry), entry.path, lambda value: Snapshot.from_json(value)
        )
    except CatalogIndexerError:
        return None
    return {codes_url(root, str(manifest.codebook), each)[len(root) + 1 :] for each in snapshot.files}


def sizes_of(root: str, held: Holdings, things: Iterable[Thing]) -> dict[str, int]:
    """By path, the bytes of all files of each thing; a request for each file, but for a version, whose manifest says
    it. Files that went meanwhile count nothing."""
    sizes: dict[str, int] = {}
    asked: list[tuple[str, str]] = []
    for thing in things:
        version = thing.path.split("/")[-1]
        sizes[thing.path] = 0
        if thing.kind == VERSION and version in held.whole:
            manifest = held.whole[version]
            sizes[thing.path] = sum(each.bytes for each in manifest.files) + len(manifest.to_bytes())
        else:
            asked += [(thing.path, file) for file in thing.files]
    with ThreadPoolExecutor(_READERS) as readers:
        found = readers.map(lambda each: _size(storage.join(root, each[1])), asked)
        for (path, _), size in zip(asked, found, strict=True):
            sizes[path] += size
    return sizes


def _size(url: str) -> int:
    try:
        return storage.size(url)
    except FileNotFoundError:
        return 0
