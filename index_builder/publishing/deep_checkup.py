"""Checks that take more than reading: is an intact version right too, and is what it was made of still there?"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from catalog import canonical_json, storage
from catalog.errors import CatalogIndexerError, IntegrityError
from catalog.manifest import Manifest, sha256_of, version_folder
from catalog.snapshot import FileEntry, Snapshot, snapshot_url
from index_builder.publishing.answers import NEIGHBOURS, read_answers
from index_builder.publishing.checkup import Finding
from index_builder.publishing.fresh_open import open_fresh
from index_builder.publishing.soundness import count_repeated
from index_builder.publishing.verify import read_verified
from index_builder.searching.items import Items
from index_builder.searching.searcher import OperatingPoint, Searcher
from index_builder.training.codebook_files import codebook_url, read_codebook

_READERS = 8
# Other processors add in another order, so that items as near as each other change places.
_SAME_ANSWERS = 0.99
_ASKED_AT_ONCE = 64


def check_deeply(root: str, manifest: Manifest, copies: Path | None) -> Iterator[Finding]:
    """Opens a version in a fresh process and in this one, asks it, and looks at what it was made of.

    Args:
        root: URL of ARTIFACTS/<name>.
        manifest: of the version.
        copies: the folder with those of its files that are not on a local disk, verified; None where not all of them
            are as published: then it is not opened.
    """
    if copies is not None:
        yield from _opened(root, manifest)
        yield from _contents(root, manifest, copies)
    else:
        yield Finding("opened", False, "it was not opened, for files of it are missing or damaged")
    yield _source(root, manifest)
    yield _codebook(root, manifest)
    for needed in manifest.needs:
        there = storage.exists(storage.join(version_folder(root, needed), "manifest.json"))
        yield Finding("needs", there, f"version {needed}, which it needs, is {'there' if there else 'missing'}")


def _opened(root: str, manifest: Manifest) -> Iterator[Finding]:
    opened = open_fresh(root, manifest)
    wrong = opened.damage or opened.failure
    took = f"in {opened.seconds:.1f} s, {opened.peak_memory / 1e6:,.0f} MB at most, {opened.where}"
    yield Finding("opened", not wrong, wrong or took)
    if wrong:
        return
    if not opened.golden_queries:
        yield Finding("golden queries", True, "none are stored with it")
        return
    for difference in opened.golden:
        yield Finding("golden queries", False, difference)
    if not opened.golden:
        yield Finding("golden queries", True, f"all {opened.golden_queries} are answered as they were")


def _contents(root: str, manifest: Manifest, copies: Path) -> Iterator[Finding]:
    """Rows and ids counted again, and all queries of the evaluation asked again."""
    here = storage.store_for(root).local_path(version_folder(root, manifest.version)) or copies

    def local(role: str) -> list[Path]:
        return [here / each.path for each in manifest.files_of(role)]

    try:
        items = Items(local("items"))
        searcher = Searcher(local("index"), local("vectors"), manifest.metric)
    except (CatalogIndexerError, RuntimeError, OSError) as error:
        yield Finding("rows", False, str(error))
        return
    counts = {"the manifest": manifest.vectors, "the items": len(items), "the index": searcher.rows}
    said = ", ".join(f"{rows:,} in {where}" for where, rows in counts.items())
    yield Finding("rows", len(set(counts.values())) == 1, said)
    repeated = count_repeated(items)
    yield Finding("item ids", repeated == 0, f"{repeated:,} rows repeat an id or are out of order")
    yield _asked_again(root, manifest, searcher, items)


def _asked_again(root: str, manifest: Manifest, searcher: Searcher, items: Items) -> Finding:
    entry = manifest.file("answers")
    if entry is None:
        return Finding("answers", True, "it was built before answers were kept")
    try:
        answers = read_answers(read_verified(root, manifest.version, entry), entry.path)
    except IntegrityError as error:
        return Finding("answers", False, str(error))
    point, again, wanted = OperatingPoint.from_json(manifest.search), 0, 0
    for start in range(0, len(answers.item_ids), _ASKED_AT_ONCE):
        rows, _ = searcher.search(answers.vectors[start : start + _ASKED_AT_ONCE], NEIGHBOURS + 1, point)
        for place, found in enumerate(rows.tolist(), start):
            ids = {items.item_id(row) for row in found if row >= 0}
            wanted += len(answers.found[place])
            again += len(ids.intersection(answers.found[place]))
    share = again / wanted if wanted else 1.0
    says = f"{share:.2%} of the answers to {len(answers.item_ids):,} queries are given again"
    return Finding("answers", share >= _SAME_ANSWERS, f"{says}, wanted at least {_SAME_ANSWERS:.0%}")


def _source(root: str, manifest: Manifest) -> Finding:
    """The embedding files that it was made of, as far as the store is there."""
    entry, store = manifest.file("source"), manifest.source.get("store")
    if entry is None or not store:
        return Finding("source", True, "it was built before its files were listed")
    try:
        data = read_verified(root, manifest.version, entry)
        snapshot = canonical_json.parse(data, entry.path, lambda value: Snapshot.from_json(value))
        if not storage.exists(snapshot_url(store, snapshot.sequence)):
            return Finding("source", True, f"{store} cannot be reached; its files were not compared")
    except CatalogIndexerError as error:
        return Finding("source", False, str(error))
    except OSError as error:
        return Finding("source", True, f"{store} cannot be reached; its files were not compared: {error}")
    with ThreadPoolExecutor(_READERS) as readers:
        wrong = [each for each in readers.map(lambda file: _embedding_file(store, file), snapshot.files) if each]
    if wrong:
        return Finding(
            "source", False, f"{len(wrong):,} of {len(snapshot.files):,} embedding files: {'; '.join(wrong)}"
        )
    return Finding(
        "source", True, f"{len(snapshot.files):,} embedding files of snapshot {snapshot.sequence} are as they were"
    )


def _embedding_file(store: str, entry: FileEntry) -> str:
    url = storage.join(store, entry.path)
    try:
        if (size := storage.size(url)) != entry.bytes:
            return f"{url} has {size:,} bytes, {entry.bytes:,} were indexed"
        return (
            "" if sha256_of(url)[0] == entry.sha256 else f"{url} is damaged: its sha256 is not that of what was indexed"
        )
    except FileNotFoundError:
        return f"{url} is missing"
    except OSError as error:
        return f"{url}: {error}"


def _codebook(root: str, manifest: Manifest) -> Finding:
    if manifest.codebook is None:
        return Finding("codebook", True, "an index of this kind has none")
    try:
        read_codebook(root, manifest.codebook)
    except (CatalogIndexerError, OSError) as error:
        return Finding("codebook", False, f"{error}; the version does without, the next build does not")
    return Finding("codebook", True, f"{codebook_url(root, manifest.codebook)} and its files can be read")
