from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import storage
from catalog.errors import IntegrityError
from catalog.manifest import Manifest, ManifestFile, sha256_of
from catalog.partition import partitions_of
from catalog.storage.local import LocalStore
from index_builder.publishing import item_changes
from index_builder.publishing.item_changes import compare_items
from index_builder.searching.items import write_items
from index_builder.searching.vector_file import write_vectors
from tests.index_builder.publishing.far_store import FarStore
from tests.index_builder.publishing.made_versions import stored_version

Vectors = dict[str, list[float]]


def made(
    root: Path, name: str, vectors: Vectors, partitions: int, shards: int = 1, kind: str | None = "float32", **more: Any
) -> Manifest:
    """The manifest of a version of these items; its vectors are kept as `kind`, in the index if "Flat", or not."""
    ids = list(vectors)
    order = sorted(zip(partitions_of(ids, partitions).tolist(), ids, strict=True))
    sizes = np.bincount([partition for partition, _ in order], minlength=partitions)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    folder = root / "versions" / name
    folder.mkdir(parents=True)
    files = []
    for shard in range(shards):
        low, high = shard * partitions // shards, (shard + 1) * partitions // shards
        part = [item_id for _, item_id in order[offsets[low] : offsets[high]]]
        write_items(folder / f"items.{shard}.arrow", [pa.table({"item_id": part})], offsets, None, int(offsets[low]))
        if kind in ("float16", "float32"):
            kept = np.array([vectors[item_id] for item_id in part], np.float32).reshape(-1, 2)
            write_vectors(folder / f"vectors.{shard}.npy", [kept], len(part), 2, kind)
    if kind == "Flat":
        index = faiss.IndexFlatL2(2)
        index.add(np.array([vectors[item_id] for _, item_id in order], np.float32).reshape(-1, 2))
        faiss.write_index(index, str(folder / "index.faiss"))
    for path in sorted(folder.iterdir()):
        digest, size = sha256_of(str(path))
        files.append(ManifestFile(path.name, path.name.split(".")[0], size, digest))
    factory = "Flat" if kind == "Flat" else "IVF1,PQ1"
    made = {"files": tuple(files), "index": {"factory": factory}, "vectors": len(ids), "metric": "l2"}
    return stored_version(str(root), f"{name}-other", version=name, **{**made, **more})


def compared(root: Path, before: Manifest, after: Manifest) -> tuple[Any, dict[str, set[str]]]:
    told: dict[str, list[str]] = defaultdict(list)
    changes = compare_items(str(root), before, after, lambda kind, item_ids: told[kind].extend(item_ids))
    assert all(len(found) == len(set(found)) for found in told.values())
    return changes, {kind: set(found) for kind, found in told.items()}


values = st.sampled_from([[0.0, 1.0], [1.0, 0.0], [0.5, 2.0]])
catalogs = st.dictionaries(st.text("aäz09-", min_size=1, max_size=3), values, min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(
    before=catalogs,
    after=catalogs,
    partitions=st.tuples(st.sampled_from([1, 2, 8]), st.sampled_from([1, 4, 16])),
    shards=st.sampled_from([1, 2]),
    kinds=st.tuples(*[st.sampled_from(["float16", "float32", "Flat"])] * 2),
)
def test_items_are_compared_as_two_dictionaries_are(
    before: Vectors, after: Vectors, partitions: tuple[int, int], shards: int, kinds: tuple[str, str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one = made(Path(folder), "v1", before, partitions[0], min(shards, partitions[0]), kinds[0])
        other = made(Path(folder), "v2", after, partitions[1], min(shards, partitions[1]), kinds[1])
        changes, told = compared(Path(folder), one, other)
        added, removed, both = after.keys() - before.keys(), before.keys() - after.keys(), before.keys() & after.keys()
        changed = {item_id for item_id in both if before[item_id] != after[item_id]}
        wanted = {"added": added, "removed": removed, "changed": changed}
        assert told == {kind: found for kind, found in wanted.items() if found}
        assert (changes.added, changes.removed, changes.both) == (len(added), len(removed), len(both))
        assert changes.changed == len(changed)


def test_vectors_that_are_stored_coarser_are_not_called_changed(tmp_path: Path) -> None:
    one = made(tmp_path, "v1", {"a": [0.1, 0.2], "b": [0.1, 0.2]}, 2, kind="float32")
    other = made(tmp_path, "v2", {"a": [0.1, 0.2], "b": [0.1, 0.3]}, 2, kind="float16")
    changes, told = compared(tmp_path, one, other)
    assert (changes.changed, told) == (1, {"changed": {"b"}})


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, "version v2 keeps none"),
        ({"metric": "cosine"}, "one version has them as for l2, the other as for cosine"),
    ],
)
def test_where_vectors_cannot_be_compared_that_is_said(tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    one = made(tmp_path, "v1", {"a": [0, 1]}, 1)
    other = made(tmp_path, "v2", {"a": [1, 0], "b": [0, 1]}, 1, kind=None, **changed)
    changes, told = compared(tmp_path, one, other)
    assert (changes.added, changes.both, changes.changed) == (1, 1, None)
    assert why in changes.compared
    assert told == {"added": {"b"}}


def test_a_damaged_file_is_not_compared(tmp_path: Path) -> None:
    one, other = (made(tmp_path, name, {"a": [0, 1]}, 1) for name in ("v1", "v2"))
    path = tmp_path / "versions" / "v2" / "vectors.0.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    storage.write(str(path), bytes(data))
    with pytest.raises(IntegrityError, match=r"vectors.0.npy is damaged"):
        compare_items(str(tmp_path), one, other)


def far(monkeypatch: pytest.MonkeyPatch) -> FarStore:
    """From here on what is not in a temporary folder of the program has to be downloaded."""
    store = FarStore()
    monkeypatch.setattr(storage, "store_for", lambda url: store if "/versions/" in url else LocalStore())
    return store


def test_what_is_downloaded_is_downloaded_once_and_that_copy_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = made(tmp_path, "v1", {"a": [0, 1]}, 1), made(tmp_path, "v2", {"a": [1, 0], "b": [0, 1]}, 1)
    store = far(monkeypatch)
    changes, _ = compared(tmp_path, one, other)
    assert (changes.added, changes.changed) == (1, 1)
    # Of each version.
    assert store.downloads == {"items.0.arrow": 2, "vectors.0.npy": 2}
    for name in ("items.0.arrow", "vectors.0.npy"):
        for which in (1, 2):
            store = far(monkeypatch)
            store.damaged = {name: which}
            with pytest.raises(IntegrityError, match=rf"versions/v{which}/{name} is damaged"):
                compared(tmp_path, one, other)


def test_no_more_than_a_partition_is_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors: Vectors = {f"item-{number}": [0.0, 1.0] for number in range(4_000)}
    one, other = made(tmp_path, "v1", vectors, 32), made(tmp_path, "v2", vectors, 128)
    held: list[int] = []
    places = item_changes._places
    monkeypatch.setattr(
        item_changes, "_places", lambda ours, theirs: (held.append(len(ours) + len(theirs)), places(ours, theirs))[1]
    )
    assert compare_items(str(tmp_path), one, other).both == 4_000
    assert len(held) == 32
    assert max(held) < 2 * 4_000 / 32 * 2
