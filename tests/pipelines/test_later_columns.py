"""Stores whose files lack columns that were added since: nights go on with them, and readers find both at once."""

from __future__ import annotations

import functools
import hashlib
import json
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog import canonical_json, storage
from catalog.embedding_file import LATER, completed, read_file, schema, vectors_of
from catalog.rejects import read_rejects
from catalog.snapshot import latest_snapshot, list_snapshots, read_snapshot
from catalog.source import CatalogSource
from catalog.storage.retry import Retrier, RetryPolicy
from encoders.decode import DecodeLimits
from encoders.image_loader import ImageLoader
from pipelines.embed import EmbedConfig
from tests.catalog.fault_store import FaultStore
from tests.conftest import REPOSITORY
from tests.pipelines.test_faults import picture_bytes
from tests.pipelines.without_beam import embed_without_beam

ROOT = "memory://shop"
NAMES = [field.name for field in LATER]


class Shop(FaultStore):
    """A store with pictures, some of which may not be read."""

    def __init__(self) -> None:
        super().__init__()
        self.forbidden: frozenset[str] = frozenset()

    def read_bytes(self, url: str, limit: int | None = None) -> bytes:
        if url in self.forbidden:
            raise PermissionError(url)
        return super().read_bytes(url, limit)


def make_old(store: FaultStore) -> None:
    """Makes every embedding file what it was before the columns were added."""
    for url, (data, version) in list(store.objects.items()):
        if "/snapshots/" not in url:
            continue
        snapshot = json.loads(data)
        for entry in snapshot["files"]:
            whole = pq.read_table(BytesIO(store.objects[f"{ROOT}/e/{entry['path']}"][0]))
            if set(NAMES) & set(whole.column_names):
                sink = BytesIO()
                pq.write_table(whole.drop_columns(NAMES), sink)
                digest = hashlib.sha256(sink.getvalue()).hexdigest()
                path = f"files/{entry['partition']:05d}/{digest[:32]}.parquet"
                entry |= {"path": path, "sha256": digest, "bytes": len(sink.getvalue())}
                store.objects[f"{ROOT}/e/{path}"] = (sink.getvalue(), version)
        store.objects[url] = (canonical_json.dump(snapshot), version)


def live_rows() -> dict[str, dict]:
    """The rows of the newest snapshot by item id, with the columns that a file has now."""
    snapshot = latest_snapshot(f"{ROOT}/e")
    assert snapshot is not None
    wanted = schema(snapshot.encoder.dimension, snapshot.vector_type, pa.schema([("price", pa.int64())]))
    rows = {}
    for entry in snapshot.files:
        for row in completed(read_file(storage.join(f"{ROOT}/e", entry.path)), wanted).to_pylist():
            if row["item_id"] not in entry.removed:
                rows[row["item_id"]] = row
    return rows


@functools.cache
def of_picture(seed: int) -> tuple[bytes, tuple[bytes, bytes, int]]:
    """The content hash of a picture, and what the columns hold of it."""
    data = picture_bytes(seed)
    loaded = ImageLoader((128, 128), DecodeLimits()).load_bytes(data)
    return loaded.content_hash, (loaded.pixel_hash, loaded.phash_256, len(data))


Night = dict[str, tuple[int, int, bool, bool]]  # By id: picture, price, whether it was touched, whether it may be read.
nights_of_items = st.lists(
    st.dictionaries(
        st.sampled_from("abcdefgh"),
        st.tuples(st.integers(1, 3), st.integers(0, 1), st.booleans(), st.sampled_from([True, True, True, False])),
        min_size=1,
    ),
    min_size=2,
    max_size=4,
)


def after(nights: list[Night], old: int, compact_at: float) -> tuple[dict[str, dict], set[str]]:
    """The rows that these nights leave behind, the first `old` being those of a version without the columns; and the
    ids whose image was encoded since."""
    store, encoded = Shop(), set[str]()
    config = EmbedConfig(
        CatalogSource((f"{ROOT}/1.csv",)),
        f"{ROOT}/e",
        "color-histogram",
        partitions=2,
        threads=1,
        may_lose=1,
        compact_at=compact_at,
    )
    rows: dict[str, dict] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "store_for", lambda url: store)
        patch.setattr(storage, "retrier", Retrier(RetryPolicy(attempts=1), sleep=lambda _: None))
        for number, night in enumerate(nights):
            for name, (seed, _, touched, _) in night.items():
                url, data = f"{ROOT}/{name}.png", picture_bytes(seed)
                if touched or store.objects.get(url, (b"", 0))[0] != data:
                    store._put(url, data)
            store.forbidden = frozenset(f"{ROOT}/{name}.png" for name, item in night.items() if not item[3])
            lines = [f"{name},{name}.png,{price}" for name, (_, price, _, _) in night.items()]
            store._put(f"{ROOT}/1.csv", "\n".join(["item_id,image,price", *lines, ""]).encode())
            embed_without_beam(config)
            if number < old:
                make_old(store)
            before, rows = rows, live_rows() if list_snapshots(f"{ROOT}/e") else {}
            if number >= old:
                encoded -= before.keys() - rows.keys()
                known = {(name, row["content_hash"]) for name, row in before.items()}
                encoded |= {name for name, row in rows.items() if (name, row["content_hash"]) not in known}
    return rows, encoded


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(nights_of_items, st.integers(1, 3), st.sampled_from([0.0, 0.25, 1.0]))
def test_nights_over_an_old_store_copy_all_that_it_has_and_fill_the_columns_of_what_they_encode(
    nights: list[Night], old: int, compact_at: float
) -> None:
    rows, encoded = after(nights, min(old, len(nights) - 1), compact_at)
    always, _ = after(nights, 0, compact_at)
    contents = dict(of_picture(seed) for seed in (1, 2, 3))
    assert rows.keys() == always.keys()
    for name, row in rows.items():
        expected = contents[row["content_hash"]]
        assert tuple(always[name][column] for column in NAMES) == expected
        assert tuple(row[column] for column in NAMES) == (expected if name in encoded else (None, None, None))
        assert {**row, **dict.fromkeys(NAMES)} == {**always[name], **dict.fromkeys(NAMES)}


def test_a_fold_of_old_and_new_files_has_the_columns_of_the_new_rows_and_nulls_for_the_old() -> None:
    first: Night = dict.fromkeys("abcdefgh", (1, 0, False, True))
    second = first | {"a": (2, 0, False, True), "b": (1, 1, False, True), "new": (3, 0, False, True)}
    third = second | {"c": (3, 0, False, False), "d": (2, 0, False, True)}
    rows, encoded = after([first, second, third], 1, 0.0)
    assert encoded == {"a", "new", "d"}
    assert {name for name, row in rows.items() if row["bytes"] is not None} == encoded
    assert sorted(rows) == sorted([*"abcdefgh", "new"])


def test_the_stored_example_of_an_old_store_is_read_and_its_pictures_lack_the_columns() -> None:
    store = str(REPOSITORY / "tests" / "examples" / "embeddings-v1")
    snapshot = read_snapshot(store, 2)
    wanted = schema(8, "float16", pa.schema([("price", pa.float64())]))
    rows = {}
    for entry in snapshot.files:
        assert storage.size(storage.join(store, entry.path)) == entry.bytes
        table = read_file(storage.join(store, entry.path))
        assert not set(NAMES) & set(table.column_names)
        assert vectors_of(table["embedding"], 8).shape == (entry.rows, 8)
        rows |= {row["item_id"]: row for row in completed(table, wanted).to_pylist()}
    assert sorted(rows) == ["item-0", "item-1", "item-2", "item-3", "item-4", "item-6"]
    for name, row in rows.items():
        assert (row["width"], row["height"], row["image_uri"]) == (4, 4, f"/srv/shop/pictures/{name[-1]}.ppm")
        assert [row[column] for column in NAMES] == [None, None, None]
        assert sum(row["embedding"]) > 0
    (rejects,) = snapshot.rejects
    assert read_rejects(storage.join(store, rejects.path))["item_id"].to_pylist() == ["item-5"]
