from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.partition import item_hash
from catalog.snapshot import Snapshot, latest_snapshot
from dedupe import row_sample
from dedupe.row_sample import sample_rows
from tests.conftest import Catalog, Finished

Cli = Callable[..., Finished]


def in_order(ids: list[str]) -> list[str]:
    return sorted(ids, key=lambda each: item_hash(each, row_sample._SEED))


@pytest.fixture
def store(tmp_path: Path, cli: Cli) -> tuple[str, Snapshot, list[str]]:
    """400 imported vectors, of which a second import removed 100: the first value of each is its number."""
    for night, numbers in enumerate((range(400), range(100, 400))):
        vectors = np.array([[number, 1] for number in numbers], np.float32)
        ids = [f"item-{number:03d}" for number in numbers]
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 2)
        pq.write_table(pa.table({"item_id": ids, "embedding": column}), tmp_path / f"{night}.parquet")
        given = ("--input", tmp_path / f"{night}.parquet", "--metric", "l2", "--output", tmp_path / "e")
        assert cli("import-vectors", *given, "--partitions", 8, "--vector-type", "float32").code == 0
    snapshot = latest_snapshot(str(tmp_path / "e"))
    assert snapshot is not None
    return str(tmp_path / "e"), snapshot, ids


def test_all_rows_come_in_the_order_of_their_hashes(store: tuple[str, Snapshot, list[str]]) -> None:
    url, snapshot, ids = store
    rows = sample_rows(url, snapshot, 10_000, ["embedding"])
    assert rows["item_id"].to_pylist() == in_order(ids)
    vectors = np.array(rows["embedding"].to_pylist())
    assert [f"item-{int(number):03d}" for number in vectors[:, 0]] == rows["item_id"].to_pylist()


@pytest.mark.parametrize("most", [1, 7, 60, 299])
def test_a_sample_is_of_as_few_partitions_as_have_enough(store: tuple[str, Snapshot, list[str]], most: int) -> None:
    url, snapshot, ids = store
    rows = sample_rows(url, snapshot, most, [])
    assert rows.column_names == ["item_id"]
    found = rows["item_id"].to_pylist()
    assert len(set(found)) == most
    assert set(found) <= set(ids)
    assert found == in_order(found)
    needed = sorted(entry.live_rows for entry in snapshot.files)
    partitions = {item_hash(each) % 8 for each in found}
    assert sum(needed[: len(partitions) - 1]) < most
    if len(partitions) == 1:
        assert found == in_order([each for each in ids if item_hash(each) % 8 in partitions])[:most]
    assert found == sample_rows(url, snapshot, most, [])["item_id"].to_pylist()


def test_a_column_that_no_file_has_is_null(store: tuple[str, Snapshot, list[str]]) -> None:
    url, snapshot, ids = store
    rows = sample_rows(url, snapshot, 1_000, ["item_id", "thumbnail", "product_id"])
    assert rows.column_names == ["item_id", "thumbnail", "product_id"]
    assert rows["thumbnail"].null_count == len(ids)


def test_rows_that_a_night_removed_or_changed_are_as_they_are_now(
    make_catalog: Callable[..., Catalog], tmp_path: Path, cli: Cli
) -> None:
    catalog = make_catalog(40)
    embed = ("embed", "--catalog", catalog.csv, "--output", tmp_path / "e", "--partitions", 2)
    assert cli(*embed).code == 0
    kept = [line.replace(",p0,", ",changed,") for line in catalog.lines[:-3]]
    catalog.rewrite(kept)
    assert cli(*embed, "--compact-at", 1).code == 0
    snapshot = latest_snapshot(str(tmp_path / "e"))
    assert snapshot is not None
    assert any(entry.removed for entry in snapshot.files)
    rows = sample_rows(str(tmp_path / "e"), snapshot, 100, ["product_id"])
    assert rows["item_id"].to_pylist() == in_order(catalog.ids[:-3])
    products = dict(zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True))
    assert products["item-0001"] == "changed"
    assert products["item-0009"] == "p3"
