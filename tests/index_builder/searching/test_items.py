from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from catalog.errors import IntegrityError
from catalog.partition import partitions_of
from index_builder.searching import items as items_module
from index_builder.searching.items import Items, write_items


def make(path: Path, count: int, partitions: int = 4) -> list[str]:
    ids = np.array([f"item-{number}" for number in range(count)])
    partition = partitions_of(ids.tolist(), partitions)
    parts = []
    for each in range(partitions):
        names = sorted(ids[partition == each].tolist())
        parts.append(
            pa.table(
                {
                    "item_id": pa.array(names, pa.string()),
                    "product_id": pa.array([f"p-{name}" for name in names], pa.string()),
                    "image_uri": pa.array([f"/{name}.jpg" for name in names], pa.string()),
                    "metadata": pa.array([{"n": len(name)} for name in names], pa.struct([("n", pa.int64())])),
                }
            )
        )
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    write_items(path, parts, offsets, pa.struct([("n", pa.int64())]))
    return [name for part in parts for name in part["item_id"].to_pylist()]


def test_a_row_number_gives_the_item_and_an_item_id_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items_module, "_ROWS", 64)  # Several batches from few rows.
    order = make(tmp_path / "items.arrow", 1_000)
    items = Items([tmp_path / "items.arrow"])
    assert len(items) == 1_000
    for row, item_id in enumerate(order):
        assert items.item(row) == {
            "item_id": item_id,
            "product_id": f"p-{item_id}",
            "image_uri": f"/{item_id}.jpg",
            "metadata": {"n": len(item_id)},
        }
        assert items.row_of(item_id) == row
    assert items.row_of("item-1000") is None
    assert items.row_of("") is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "items.arrow").write_bytes(b"ARROW1\0\0 and no more")
    with pytest.raises(IntegrityError, match=r"items\.arrow is damaged"):
        Items([tmp_path / "items.arrow"])
