"""A store in memory with everything in it that a collector keeps, marks and deletes."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable

from catalog import canonical_json, storage
from catalog.channel import channel_names, read_channel
from catalog.manifest import ManifestFile, read_manifest
from catalog.snapshot import Counts, FileEntry, Snapshot
from catalog.version_log import read_log
from index_builder.assembly.code_files import codes_url
from index_builder.publishing.holdings import look
from index_builder.publishing.pins import pin
from index_builder.publishing.promote import Request, promote
from index_builder.publishing.reachable import Retention
from index_builder.publishing.verify import verify
from tests.catalog.fault_store import Fault, FaultStore
from tests.index_builder.publishing.made_versions import ENCODER, published_version, stored_version

ROOT = "memory://artifacts/shop"
START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
KEEP_ONE = Retention(keep=1)


def later(days: float) -> datetime.datetime:
    return START + datetime.timedelta(days=days)


class PiecewiseStore(FaultStore):
    """One whose folders are deleted object by object, as object stores do, so that it can die between two of them.
    `deletions` has what was deleted by the number of the operation; the listing before a deletion is one."""

    def plan(self, faults: dict[int, Fault], between: dict[int, Callable[[], None]] | None = None) -> None:
        super().plan(faults, between)
        self.deletions: dict[int, str] = {}

    def delete(self, url: str) -> None:
        if self.between:  # Which may wait for other threads.
            super().delete(url)
            return
        with self._lock:
            self.deletions[self.operations] = url
            super().delete(url)

    def delete_tree(self, prefix: str) -> None:
        self.deletions[self.operations] = prefix
        for url in list(self.list_files(prefix)):
            self.delete(url)

    def names(self) -> set[str]:
        return {url.removeprefix(f"{ROOT}/") for url in self.objects}


def embedding_file(number: int) -> FileEntry:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return FileEntry(number, f"files/{number:06d}/{digest[:32]}.parquet", digest, 10, 5)


def source_of(version: str, files: list[FileEntry]) -> ManifestFile:
    """Stores `source.json` of a version made of some embedding files."""
    snapshot = Snapshot(1, None, 1, "run", ENCODER, "float16", 4, Counts(5, 5, 0, 0), tuple(files))
    data = canonical_json.dump(snapshot.to_json())
    storage.write(storage.join(ROOT, "versions", version, "source.json"), data)
    return ManifestFile("source.json", "source", len(data), hashlib.sha256(data).hexdigest())


def publish_with_codes(name: str, codebook: str, numbers: list[int], channel: str | None = "prod") -> None:
    """A version with a codebook, and the codes of its files."""
    files = [embedding_file(number) for number in numbers]
    source = source_of(name, files)
    plain = stored_version(ROOT, name)
    for entry in files:
        storage.write(codes_url(ROOT, codebook, entry), b"codes")
    for file in ("codebook.faiss", "codebook.json"):
        storage.write(storage.join(ROOT, "codebooks", codebook, file), b"codebook")
    published_version(ROOT, name, channel, codebook=codebook, files=(*plain.files, source))


def fill() -> None:
    """prod is on v5 and goes back to v4 and v1, canary is on v5, candidate on v6, the newest; v3 is pinned and needs
    v2; nothing needs v1 and v0. A build of v9 was left off."""
    publish_with_codes("v0", "old", [0, 1], None)
    publish_with_codes("v1", "old", [1, 2])
    published_version(ROOT, "v2", None)
    published_version(ROOT, "v3", None, needs=("v2",))
    pin(ROOT, read_manifest(ROOT, "v3"), "the audit")
    publish_with_codes("v4", "new", [2, 3])
    publish_with_codes("v5", "new", [3, 4])
    published_version(ROOT, "v5", "canary")
    promote(ROOT, published_version(ROOT, "v6", None), Request("candidate"))
    storage.write(codes_url(ROOT, "new", embedding_file(7)), b"codes of a file that no version has")
    stored_version(ROOT, "v9")
    for name in ("files/index.faiss.json", "training.json", "queries.arrow", "truth/000000-000004.arrow"):
        storage.write(storage.join(ROOT, "work", "v9", name), b"work")


#: What `fill` stores and nothing needs, by prefix.
GOES = ("versions/v0/", "versions/v1/", "codes/old/", "codebooks/old/", "versions/v9/", "work/v9/")
REACHABLE = {"v2", "v3", "v4", "v5", "v6"}


def goes(name: str) -> bool:
    return name.startswith(GOES) or name == codes_url("", "new", embedding_file(7))[1:]


def reachable() -> set[str]:
    """Versions that a channel points to, or goes back to first if that is still there, pinned ones, and what those
    need. The slow way."""
    found: set[str] = set()
    held = look(ROOT)
    for name in channel_names(ROOT):
        channel = read_channel(ROOT, name)
        assert channel.pointer is not None
        found |= {
            channel.pointer.version,
            *(each.version for each in channel.earlier[:1] if each.version in held.whole),
        }
    found |= {version for version in held.whole if held.pins_of(version).reasons}
    while True:
        needed = {each for version in found for each in read_manifest(ROOT, version).needs}
        if needed <= found:
            return found
        found |= needed


def check_whole(versions: set[str]) -> None:
    """Every byte of each version is there."""
    pointers = {entry.version: entry for entry in read_log(ROOT)}
    for version in sorted(versions):
        verify(ROOT, pointers[version])
