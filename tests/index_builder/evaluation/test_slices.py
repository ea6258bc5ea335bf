from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from index_builder.evaluation.recall import interval
from index_builder.evaluation.slices import columns_of, slice_recall
from index_builder.searching.items import Items, write_items


def test_a_category_where_search_fails_comes_first() -> None:
    category = ["lamps"] * 100 + ["mugs"] * 40 + [None] * 35 + ["rare"] * 29
    shares = np.array([1.0] * 100 + [0.2] * 40 + [0.7] * 35 + [0.0] * 29)
    slices = slice_recall(shares, {"category": category})
    assert [(each.value, each.queries, each.recall) for each in slices] == [
        ("mugs", 40, 0.2),
        (None, 35, 0.7),
        ("lamps", 100, 1.0),
    ]
    assert slices[0].to_json() == {
        "column": "category",
        "value": "mugs",
        "queries": 40,
        "recall": 0.2,
        "interval": [0.2, 0.2],
    }


def test_slices_of_all_columns_are_those_of_a_slow_count() -> None:
    rng = np.random.default_rng(0)
    shares = np.where(rng.random(900) < 0.05, np.nan, rng.integers(0, 11, 900) / 10)
    columns = {name: [f"{name}{value}" for value in rng.integers(0, many, 900)] for name, many in (("a", 4), ("b", 32))}
    slices = slice_recall(shares, columns)
    for each in slices:
        values = columns[each.column]
        mine = [share for share, value in zip(shares, values, strict=True) if value == each.value and share == share]
        assert (each.queries, each.recall) == (len(mine), pytest.approx(np.mean(mine), abs=1e-6))
        assert each.interval == interval(np.array(mine))
    assert [each.recall for each in slices] == sorted(each.recall for each in slices)
    seen = {(each.column, each.value) for each in slices}
    assert len([each for each in slices if each.column == "a"]) == 4
    for column, values in columns.items():
        for value in set(values):
            counted = sum(v == value and s == s for v, s in zip(values, shares, strict=True))
            assert ((column, value) in seen) == (counted >= 30)


def test_only_the_50_most_frequent_values_of_a_column_are_shown() -> None:
    values = [f"v{number:02d}" for number in range(60) for _ in range(30 + number)]
    slices = slice_recall(np.ones(len(values)), {"vendor": values})
    assert [each.value for each in slices] == [f"v{number:02d}" for number in range(10, 60)]


def test_a_column_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="column vendor has 2 values for 3 queries"):
        slice_recall(np.ones(3), {"vendor": ["a", "b"]})


def test_categories_and_vendors_are_found_in_the_metadata_by_name(tmp_path: Path) -> None:
    metadata = pa.struct([("Category", pa.string()), ("price", pa.float64()), ("vendor", pa.int64())])
    rows = [{"Category": "mugs", "price": 1.0, "vendor": 7}, None, {"Category": None, "price": 2.0, "vendor": 8}]
    table = pa.table(
        {
            "item_id": ["a", "b", "c"],
            "product_id": pa.array([None] * 3, pa.string()),
            "image_uri": ["/a", "/b", "/c"],
            "metadata": pa.array(rows, metadata),
        }
    )
    write_items(tmp_path / "items.arrow", [table], np.array([0, 3]), metadata)
    found = columns_of(Items([tmp_path / "items.arrow"]), np.array([2, 0, 1]))
    assert found == {"Category": [None, "mugs", None], "vendor": ["8", "7", None]}
