from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.id_slices import IdStream, in_pieces, slices

SCHEMA = pa.schema([("item_id", pa.string()), ("of", pa.int64())])


def tables_of(ids: list[str], of: int, size: int) -> list[pa.Table]:
    rows = pa.table({"item_id": pa.array(ids, pa.string()), "of": pa.array([of] * len(ids), pa.int64())})
    return [rows.slice(start, size) for start in range(0, len(ids), size)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sets(st.text("abc", max_size=4)), min_size=1, max_size=4),
    st.integers(1, 5),
    st.integers(1, 7),
    st.sampled_from([1, 60, 1 << 20]),
)
def test_streams_are_cut_at_the_same_ids_and_no_slice_is_large(
    streams: list[set[str]], table_rows: int, rows: int, size: int
) -> None:
    given_ids = [sorted(ids) for ids in streams]
    given_tables = [tables_of(ids, number, table_rows) for number, ids in enumerate(given_ids)]
    found = list(slices([IdStream(tables, SCHEMA) for tables in given_tables], rows, size))
    for number, ids in enumerate(given_ids):
        assert [each for parts in found for each in parts[number]["item_id"].to_pylist()] == ids
    last = None
    for parts in found:
        assert all(len(part) <= rows for part in parts)
        here = [each for part in parts for each in part["item_id"].to_pylist()]
        assert here
        assert last is None or min(here) > last
        last = max(here)
        if size == 1:  # A table is more than that already.
            assert all(len(part) <= table_rows for part in parts)


@given(st.lists(st.integers(0, 9)), st.integers(1, 6))
def test_pieces_have_the_same_rows_however_they_came(lengths: list[int], rows: int) -> None:
    total = sum(lengths)
    whole, tables, start = pa.table({"item_id": [str(number) for number in range(total)]}), [], 0
    for length in lengths:
        tables.append(whole.slice(start, length))
        start += length
    found = list(in_pieces(tables, rows))
    assert [len(table) for table in found] == [min(rows, total - first) for first in range(0, total, rows)]
    assert all(len(table["item_id"].chunks) == 1 for table in found)
    assert [each for table in found for each in table["item_id"].to_pylist()] == whole["item_id"].to_pylist()
