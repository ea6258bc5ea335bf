from __future__ import annotations

import datetime
import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UsageError
from dedupe.keeper import KeeperPolicy, order_keys, order_of


def table_of(rows: list[dict[str, Any]], metadata: pa.Schema | None = None) -> pa.Table:
    columns = {
        "item_id": pa.array([row["item_id"] for row in rows], pa.string()),
        "width": pa.array([row.get("width") for row in rows], pa.int32()),
        "height": pa.array([row.get("height") for row in rows], pa.int32()),
        "bytes": pa.array([row.get("bytes") for row in rows], pa.int64()),
        "protected": pa.array([row.get("protected", False) for row in rows], pa.bool_()),
    }
    if metadata is not None:
        structs = [{name: row.get(name) for name in metadata.names} for row in rows]
        columns["metadata"] = pa.array(structs, pa.struct(list(metadata)))
    return pa.table(columns)


def preferred(rows: list[dict[str, Any]], policy: str, metadata: pa.Schema | None = None) -> list[str]:
    """The item ids, best first."""
    key, after = order_keys(table_of(rows, metadata), KeeperPolicy.parse(policy))
    assert after is None
    return [row["item_id"] for _, row in sorted(zip(key.to_pylist(), rows, strict=True), key=lambda pair: pair[0])]


def test_more_pixels_then_more_bytes_then_the_first_id() -> None:
    rows = [
        {"item_id": "d", "width": 10, "height": 10, "bytes": 5},
        {"item_id": "c", "width": 10, "height": 10, "bytes": 5},
        {"item_id": "b", "width": 5, "height": 20, "bytes": 6},
        {"item_id": "a", "width": None, "height": 9999, "bytes": 9},
        {"item_id": "e", "width": 60_000, "height": 60_000, "bytes": 1},
    ]
    assert preferred(rows, "resolution,bytes") == ["e", "b", "c", "d", "a"]


def test_protected_rows_come_first_whatever_the_policy_says() -> None:
    rows = [{"item_id": "a", "width": 9, "height": 9}, {"item_id": "b", "width": 1, "height": 1, "protected": True}]
    assert preferred(rows, "resolution") == ["b", "a"]


def test_listed_values_come_in_their_order_then_others_then_none() -> None:
    names = [None, "other", "globex", "acme", "globex"]
    rows = [{"item_id": str(number), "vendor": name} for number, name in enumerate(names)]
    assert preferred(rows, "vendor=acme|globex", pa.schema([("vendor", pa.string())])) == ["3", "2", "4", "1", "0"]


_DAY = datetime.date(2020, 1, 1)
_VALUES = {
    "text": (pa.string(), st.text(max_size=4)),
    "whole": (pa.int64(), st.integers(-(1 << 63), (1 << 63) - 1)),
    "unsigned": (pa.uint64(), st.integers(0, (1 << 64) - 1)),
    "small": (pa.int8(), st.integers(-128, 127)),
    "fraction": (pa.float64(), st.floats(allow_nan=False)),
    "single": (pa.float32(), st.floats(allow_nan=False, width=32)),
    "truth": (pa.bool_(), st.booleans()),
    "day": (pa.date32(), st.integers(-9999, 9999).map(lambda days: _DAY + datetime.timedelta(days))),
    "moment": (pa.timestamp("us"), st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1))),
}


@pytest.mark.parametrize("kind", list(_VALUES))
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_keys_sort_as_values_do_in_both_directions_with_nothing_last(kind: str, data: st.DataObject) -> None:
    arrow, strategy = _VALUES[kind]
    values = data.draw(st.lists(st.none() | strategy, max_size=8))
    ids = [f"{number:02}" for number in range(len(values))]
    rows = [{"item_id": one, "x": value} for one, value in zip(ids, values, strict=True)]
    known = [index for index, value in enumerate(values) if value is not None]
    missing = [index for index, value in enumerate(values) if value is None]
    for policy, backwards in (("x:asc", False), ("x:desc", True)):  # Stable in both, so that ties go by id.
        wanted = sorted(known, key=lambda index: values[index], reverse=backwards)
        assert preferred(rows, policy, pa.schema([("x", arrow)])) == [ids[index] for index in wanted + missing]


def test_what_is_no_number_comes_with_what_is_missing() -> None:
    rows = [{"item_id": "a", "x": math.nan}, {"item_id": "b", "x": math.inf}, {"item_id": "c", "x": None}]
    assert preferred(rows, "x:asc", pa.schema([("x", pa.float64())])) == ["b", "a", "c"]
    assert preferred(rows, "x:desc", pa.schema([("x", pa.float64())])) == ["b", "a", "c"]


def test_a_text_that_begins_another_and_zero_bytes_do_not_mix_with_the_next_term() -> None:
    texts = ["a", "a\0", "a\0\0", "a\0b", "ab", ""]
    rows = [{"item_id": f"{number}", "x": text, "y": -number} for number, text in enumerate(texts)]
    metadata = pa.schema([("x", pa.string()), ("y", pa.int64())])
    assert preferred(rows, "x:asc,y:asc", metadata) == ["5", "0", "1", "2", "3", "4"]
    assert preferred(rows, "x:desc,y:asc", metadata) == ["4", "3", "2", "1", "0", "5"]


def test_keys_of_slices_are_slices_of_the_keys() -> None:
    rows = [{"item_id": f"{number}", "width": number, "height": 3, "x": f"v{number}"} for number in range(20)]
    table = table_of(rows, pa.schema([("x", pa.string())]))
    policy = KeeperPolicy.parse("x:desc,resolution")
    whole, _ = order_keys(table, policy)
    part, _ = order_keys(table.slice(7, 5), policy)
    assert part.to_pylist() == whole.to_pylist()[7:12]


def test_the_medoid_parts_what_counts_more_from_what_counts_less() -> None:
    rows = [{"item_id": "a", "width": 3, "height": 3, "bytes": 7}]
    before, after = order_keys(table_of(rows), KeeperPolicy.parse("resolution,medoid,bytes"))
    alone, _ = order_keys(table_of(rows), KeeperPolicy.parse("resolution"))
    less, _ = order_keys(table_of(rows), KeeperPolicy.parse("bytes"))
    assert before[0].as_py() + b"a" == alone[0].as_py()
    assert after is not None
    assert b"\1" + after[0].as_py() == less[0].as_py()


def test_columns_beside_the_metadata_can_be_named_and_missing_ones_are_missing() -> None:
    table = table_of([{"item_id": "a"}, {"item_id": "b"}]).append_column("dataset", pa.array(["new", "old"]))
    key, _ = order_keys(table, KeeperPolicy.parse("dataset=old|new,shade:asc"))
    assert order_of(key).tolist() == [1, 0]


def test_imported_vectors_have_no_resolution_and_go_by_id() -> None:
    table = pa.table({"item_id": ["b", "a"], "protected": [False, False]})
    key, _ = order_keys(table, KeeperPolicy.parse("resolution,bytes"))
    assert order_of(key).tolist() == [1, 0]


def test_bytes_above_127_sort_after_others() -> None:
    assert order_of(pa.array([b"\xff", b"\x7f", b"\x80"], pa.binary())).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "--keeper is empty"),
        ("resolution,", "'' is none of resolution"),
        ("vendor", "say vendor:asc, vendor:desc or vendor=FIRST|SECOND"),
        ("vendor:up", "'vendor:up' is none of"),
        ("vendor=", "COLUMN=FIRST|SECOND"),
        ("vendor=a||b", "COLUMN=FIRST|SECOND"),
        ("vendor=a|a", "each once"),
        ("=a", "must name a column"),
        ("medoid,bytes,medoid", "names 'medoid' twice"),
    ],
)
def test_a_policy_that_is_none_is_refused_by_its_term(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        KeeperPolicy.parse(text)
    assert said in str(refused.value)


def test_a_column_that_is_not_there_or_has_no_order_is_refused() -> None:
    columns = pa.schema([("vendor", pa.string()), ("tags", pa.list_(pa.string()))])
    KeeperPolicy.parse("vendor:asc,medoid").check(columns, "store/")
    with pytest.raises(UsageError, match="store/ has no column 'brand'; its columns are: vendor, tags"):
        KeeperPolicy.parse("brand:asc").check(columns, "store/")
    with pytest.raises(UsageError, match="'tags' of store/ holds list"):
        KeeperPolicy.parse("tags:asc").check(columns, "store/")


def test_a_column_with_a_comma_is_quoted() -> None:
    policy = KeeperPolicy.parse('"size, cm:desc",bytes')
    assert policy.columns == ("size, cm",)
    assert not policy.medoid
