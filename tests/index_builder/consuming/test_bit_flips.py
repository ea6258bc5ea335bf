"""Every single bit of a published version counts: one that is flipped is noticed before anything is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog import storage
from catalog.channel import Channel, Pointer
from catalog.errors import CatalogIndexerError, IntegrityError
from index_builder import catalog_index
from index_builder.catalog_index import CatalogIndex
from tests.catalog.object_stores import gcs_server
from tests.index_builder.consuming.shops import publish_shop, upload

# Of each file, besides its first and its last one.
_BITS = 70
FILES = (
    "channels/prod.json",
    "log/000001.json",
    "versions/v1/manifest.json",
    "versions/v1/evaluation.json",
    "versions/v1/golden.npz",
    "versions/v1/index.part-000.faiss",
    "versions/v1/index.part-001.faiss",
    "versions/v1/items.arrow",
    "versions/v1/vectors.npy",
)
QUERY = np.full(8, 0.5)


class _ServedError(Exception):
    """A damaged version got as far as being opened."""


def flips(data: bytes, bits: int, seed: int) -> list[bytes]:
    """The data with a bit flipped, in as many ways: the first, the last, and some that are drawn."""
    places = np.random.default_rng(seed).integers(0, 8 * len(data), bits).tolist()
    flipped = []
    for place in [0, 8 * len(data) - 1, *places]:
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        flipped.append(bytes(changed))
    return flipped


def served(*args: Any) -> None:
    raise _ServedError


@pytest.fixture
def published(tmp_path: Path) -> Path:
    publish_shop(tmp_path / "store", index_parts=2)
    stored = sorted(path for path in (tmp_path / "store" / "shop").rglob("*.*") if path.is_file())
    names = {str(path.relative_to(tmp_path / "store" / "shop")) for path in stored if path.name[0] != "."}
    # `candidate` is another channel, and the marks are the collector's.
    assert names - {"channels/candidate.json", "collection.json"} == set(FILES)
    return tmp_path / "store"


def test_of_600_flipped_bits_each_is_noticed_before_the_index_is_opened(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(CatalogIndex.open(str(published), "shop").search(QUERY)) == 10
    monkeypatch.setattr(catalog_index, "Searcher", served)
    noticed, unverified = 0, []
    for number, name in enumerate(FILES):
        path = published / "shop" / name
        whole = path.read_bytes()
        for changed in flips(whole, _BITS, seed=number):
            path.write_bytes(changed)
            # The log is asked where a version is opened by name.
            with pytest.raises(CatalogIndexerError) as raised:
                CatalogIndex.open(str(published), "shop", version="v1" if name.startswith("log/") else None)
            noticed += 1
            if name.startswith("versions/") and not isinstance(raised.value, IntegrityError):
                unverified.append((name, str(raised.value)))
        path.write_bytes(whole)
    assert unverified == []
    assert noticed == len(FILES) * (_BITS + 2)
    assert noticed >= 600
    with pytest.raises(_ServedError):  # Whole again, it gets there.
        CatalogIndex.open(str(published), "shop")


def test_every_bit_of_a_channel_counts_also_where_the_same_can_be_spelled_in_another_way() -> None:
    moved = Channel("prod").promoted(Pointer("v1", "a" * 64, 1), {"recall_floor": "said\x1fby A"})
    data = moved.promoted(Pointer("v2", "b" * 64, 2), {}).rolled_back(None, "").to_bytes()
    Channel.from_bytes("prod", data, None, "channel")
    assert b"u001f" in data
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CatalogIndexerError):
            Channel.from_bytes("prod", bytes(changed), None, "channel")


def test_flipped_bits_in_an_object_store_and_in_the_cache_are_noticed(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gcs_server(tmp_path) as bucket:
        upload(published, bucket)
        in_cache = tmp_path / "cache"
        right = CatalogIndex.open(bucket, "shop", cache=in_cache).search(QUERY)
        for number, name in enumerate(FILES):
            url, by_name = f"{bucket}/shop/{name}", "v1" if name.startswith("log/") else None
            whole = storage.read_bytes(url)
            for turn, changed in enumerate(flips(whole, 3, seed=100 + number)):
                storage.write(url, changed)
                with monkeypatch.context() as patch:
                    patch.setattr(catalog_index, "Searcher", served)
                    with pytest.raises(CatalogIndexerError):
                        CatalogIndex.open(bucket, "shop", version=by_name, cache=tmp_path / f"{number}-{turn}")
            storage.write(url, whole)
        # In the cache: what is damaged there is downloaded anew, and the answers are right.
        copies = {path: path.read_bytes() for path in in_cache.glob("shop-*/v1-*/*")}
        assert {path.name for path in copies} == {Path(name).name for name in FILES[3:]}
        for number, (path, whole) in enumerate(copies.items()):
            for changed in flips(whole, 5, seed=200 + number):
                path.write_bytes(changed)
                index = CatalogIndex.open(bucket, "shop", cache=in_cache)
                assert path.read_bytes() == whole
                assert index.search(QUERY) == right
                index.close()
