from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import IntegrityError, UsageError
from index_builder.searching.filters import Filters
from index_builder.searching.items import Items
from index_builder.searching.row_set import RowFilter, RowSet
from tests.index_builder.at_once import wrong_at_once
from tests.index_builder.vectors import clustered
from tests.index_builder.versions import publish_version

TOTAL = 300
ROWS = st.sets(st.integers(0, TOTAL - 1))


def row_set(rows: set[int]) -> RowSet:
    return RowSet.of_rows(np.array(sorted(rows), np.int64), TOTAL)


@given(ROWS, ROWS, ROWS)
def test_row_sets_are_sets_whether_they_are_lists_or_bits(one: set[int], other: set[int], blocked: set[int]) -> None:
    mine, theirs = row_set(one), row_set(other)
    every = np.arange(TOTAL)
    for found, right in ((mine, one), (mine.union(theirs), one | other), (mine.intersection(theirs), one & other)):
        assert (found.count, found.list_rows().tolist()) == (len(right), sorted(right))
        np.testing.assert_array_equal(found.has(every), [row in right for row in range(TOTAL)])
    bits = RowSet.of_bits(np.packbits([row in one for row in range(TOTAL)], bitorder="little"), TOTAL)
    assert bits.list_rows().tolist() == sorted(one)
    for allowed in (None, mine):
        chosen = RowFilter(TOTAL, allowed, np.array(sorted(blocked), np.int64))
        right = (set(range(TOTAL)) if allowed is None else one) - blocked
        selector = chosen.selector()
        assert (chosen.count, chosen.list_rows().tolist()) == (len(right), sorted(right))
        assert [selector.is_member(row) for row in range(TOTAL)] == [row in right for row in range(TOTAL)]
        assert [chosen.has(row) for row in range(TOTAL)] == [row in right for row in range(TOTAL)]


def test_few_rows_are_a_list_and_many_are_bits() -> None:
    few, many = RowSet.of_rows(np.array([7, 7, 3]), 1_000), RowSet.of_rows(np.arange(500), 1_000)
    assert few.rows is not None
    assert (few.count, many.bits is not None, many.nbytes) == (2, True, 125)
    assert isinstance(few.selector(), faiss.IDSelectorBatch)
    assert isinstance(many.selector(), faiss.IDSelectorBitmap)


@pytest.fixture(scope="module", params=[1, 3])
def version(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Items, list[dict]]:
    root = tmp_path_factory.mktemp("filters")
    rows = publish_version(root, clustered(TOTAL, 4), "l2", "Flat", {"nprobe": 0, "rerank": 0}, shards=request.param)
    return Items(sorted((root / "shop" / "versions" / "v1").glob("items*.arrow"))), rows


def value_of(row: dict[str, Any], column: str) -> Any:
    return row["product_id"] if column == "product_id" else row["metadata"][column]


VALUES = {
    "colour": st.sampled_from(["red", "green", "no such colour", None]),
    "price": st.sampled_from([0.5, 3.5, 77.0]),
    "stock": st.integers(0, 8),
    "product_id": st.sampled_from(["p1", "p50", "no such product", None]),
}


@given(st.data())
def test_rows_are_chosen_as_a_loop_over_the_items_chooses_them(
    version: tuple[Items, list[dict[str, Any]]], data: st.DataObject
) -> None:
    items, rows = version
    ids = st.lists(st.sampled_from([*(row["item_id"] for row in rows), "unknown"]), max_size=40)
    columns = data.draw(st.sets(st.sampled_from(sorted(VALUES)), max_size=2))
    where = {column: data.draw(st.lists(VALUES[column], min_size=1, max_size=3)) for column in columns}
    allow, block = data.draw(st.none() | ids), data.draw(st.none() | ids)
    if allow and set(allow) == {"unknown"}:
        allow = []
    chosen = Filters(items).rows(allow, block, where)
    right = [
        number
        for number, row in enumerate(rows)
        if (allow is None or row["item_id"] in allow)
        and row["item_id"] not in (block or [])
        and all(value_of(row, column) in values for column, values in where.items())
    ]
    assert (list(range(TOTAL)) if chosen is None else chosen.list_rows().tolist()) == right


def test_values_are_compared_in_the_type_of_their_column(version: tuple[Items, list[dict[str, Any]]]) -> None:
    filters = Filters(version[0])
    for where in ({"stock": "3"}, {"stock": 3}, {"stock": 3.0}, {"stock": {"3", 3}}):
        chosen = filters.rows(where=where)
        assert chosen is not None
        assert chosen.count == sum(row["metadata"]["stock"] == 3 for row in version[1])


def test_a_filter_that_makes_no_sense_is_refused(version: tuple[Items, list[dict[str, Any]]]) -> None:
    filters = Filters(version[0])
    for options, message in (
        (
            {"where": {"size": 1}},
            "no column 'size' to choose by; the columns are: colour, price, stock, tags, product_id",
        ),
        ({"where": {"stock": "many"}}, "column 'stock' holds int64; 'many' is none"),
        ({"where": {"tags": "1"}}, "column 'tags' holds list<.*>, which cannot be chosen by"),
        ({"allow": ["x", "y"]}, "there is none of the 2 allowed items; the first is 'x'"),
        ({"block": "item-00001"}, "item ids are given as a list; 'item-00001' is one text"),
    ):
        with pytest.raises(UsageError, match=message):
            filters.rows(**options)
    chosen = filters.rows(allow=["item-00001", "x"], block=["y"])
    assert chosen is not None
    assert chosen.count == 1


def test_what_is_kept_is_bounded_and_is_not_read_again(
    version: tuple[Items, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    items, read = version[0], []
    blocks = items.blocks
    monkeypatch.setattr(items, "blocks", lambda column: read.append(column) or blocks(column))
    filters, lately = Filters(items), Filters(items, kept_bytes=80)
    for _ in range(3):
        filters.rows(where={"colour": ["red", "green"]})
        filters.rows(where={"colour": "green", "stock": 1})
    assert read == ["colour", "stock"]
    for colour in ("red", "green", "red", "blue", "red"):  # Room for two: the one that was used last stays.
        lately.rows(where={"colour": colour})
    assert read == ["colour", "stock", "colour", "colour", "colour"]
    small = Filters(items, kept_bytes=100)
    for stock in range(7):
        small.rows(where={"stock": stock})
        assert sum(rows.nbytes for rows in small._kept.values()) == small._bytes <= 100


def test_threads_that_filter_at_once_choose_the_same_rows(version: tuple[Items, list[dict[str, Any]]]) -> None:
    items = version[0]
    shared = Filters(items, kept_bytes=200)
    wanted = [{"stock": stock, "colour": colour} for stock in range(7) for colour in ("red", "blue", None)]
    right = [Filters(items).rows(where=where).list_rows().tolist() for where in wanted]  # type: ignore[union-attr]

    def is_right(number: int) -> bool:
        found = shared.rows(where=wanted[number])
        return found is not None and found.list_rows().tolist() == right[number]

    assert wrong_at_once(len(wanted), is_right, turns=40) == []


def test_items_in_several_files_are_one_table(version: tuple[Items, list[dict[str, Any]]]) -> None:
    items, rows = version
    assert len(items) == TOTAL
    assert [items.item(row) for row in range(TOTAL)] == rows
    assert items.rows_of([row["item_id"] for row in rows]).tolist() == list(range(TOTAL))


def test_items_that_lack_a_file_are_refused(tmp_path: Path) -> None:
    publish_version(tmp_path, clustered(TOTAL, 4), "l2", "Flat", {"nprobe": 0, "rerank": 0}, shards=4)
    paths = sorted((tmp_path / "shop" / "versions" / "v1").glob("items*.arrow"))
    for some in (paths[1:], paths[:-1], [paths[0], *paths[2:]], paths[::-1]):
        with pytest.raises(IntegrityError, match="do not hold the rows 0 to 299 one after the other"):
            Items(some)
