from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from catalog.partition_rows import Changes, PartitionRows, compare
from catalog.partition_rows import clean as clean_sorted
from catalog.rejects import Reject
from catalog.row_files import content_keys
from catalog.rows import row_schema
from catalog.sorted_files import in_order
from catalog.stored_rows import StoredItem

SCHEMA = row_schema(pa.schema([("price", pa.float64())]))


def row(
    item_id: str, uri: str = "/u", price: float | None = 1.0, origin: str = "c.csv row 2", **more: str | None
) -> dict:
    return {
        "item_id": item_id,
        "product_id": None,
        "image_uri": uri,
        "origin": origin,
        "reason": None,
        "detail": None,
        "metadata": {"price": price},
        **more,
    }


def batches(rows: list[dict]) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pylist([one], SCHEMA) for one in rows]


class Cleaned(NamedTuple):
    rows: pa.Table
    rejects: list[Reject]


def clean(batches: list[pa.RecordBatch], at_once: int = 2) -> Cleaned:
    """Sorts rows and cleans them, a few at a time."""
    table, rejects = in_order(pa.Table.from_batches(batches), content_keys), list[Reject]()
    some = (table.slice(start, at_once) for start in range(0, len(table), at_once))
    return Cleaned(pa.concat_tables(clean_sorted(some, rejects.append)).combine_chunks(), rejects)


def test_rows_are_sorted_and_of_repeated_ids_one_is_kept_whatever_the_order() -> None:
    rows = [row("b"), row("a", "/2", origin="c.csv row 3"), row("a", "/1", origin="c.csv row 9"), row("c")]
    for seed in range(6):
        shuffled = random.Random(seed).sample(rows, len(rows))
        cleaned = clean(batches(shuffled))
        assert cleaned.rows["item_id"].to_pylist() == ["a", "b", "c"]
        assert cleaned.rows["image_uri"].to_pylist()[0] == "/1"
        assert [(r.item_id, r.origin, r.reason) for r in cleaned.rejects] == [("a", "c.csv row 3", "duplicate_item_id")]
        assert cleaned.rejects[0].detail == "the id is also in c.csv row 9, which is kept"


def test_rows_with_a_reason_become_rejects_with_a_sentence() -> None:
    cleaned = clean(batches([row("", reason="empty_item_id"), row("a")]))
    assert [(r.reason, r.detail) for r in cleaned.rejects] == [("empty_item_id", "the item id is empty")]
    assert len(cleaned.rows) == 1


PRICE = (("price", "1"),)


def stored(file: int, place: int, uri: str, version: str = "v1", price: tuple = PRICE) -> StoredItem:
    return StoredItem(file, place, uri, version, b"h" * 32, None, price)


def test_every_row_is_kept_updated_or_read_and_what_left_is_removed() -> None:
    names = ["changed_image", "changed_place", "changed_price", "new", "same", "unreadable"]
    table = clean(batches([row(name, f"/{name}") for name in names])).rows
    rows = PartitionRows(
        table,
        {
            "same": stored(0, 0, "/same"),
            "changed_image": stored(0, 1, "/changed_image", "v0"),
            "changed_place": stored(0, 2, "/elsewhere"),
            "changed_price": stored(1, 0, "/changed_price", price=(("price", "2"),)),
            "unreadable": stored(1, 1, "/unreadable"),
            "gone": stored(1, 2, "/gone"),
        },
    )
    diff = compare(rows, Changes.STORE, lambda uris: [None if uri == "/unreadable" else "v1" for uri in uris])
    assert [names[i] for i in diff.keep] == ["same"]
    assert [names[i] for i in diff.update] == ["changed_price"]
    assert [names[i] for i in diff.read] == ["changed_image", "changed_place", "new", "unreadable"]
    assert {file: sorted(ids) for file, ids in rows.superseded(diff.keep).items()} == {
        0: ["changed_image", "changed_place"],
        1: ["changed_price", "gone", "unreadable"],
    }
    assert rows.removed() == 1


def no_store(uris: object) -> list[str | None]:
    raise AssertionError("the store must not be asked")


def test_a_column_tells_changes_without_asking_the_store() -> None:
    versions = {"changed": "v2", "none": None, "same": "v1"}
    table = clean(batches([row(name, source_version=version) for name, version in versions.items()])).rows
    diff = compare(PartitionRows(table, {name: stored(0, 0, "/u") for name in versions}), Changes.COLUMN, no_store)
    assert (diff.read, diff.keep) == ([0, 1], [2])


def test_by_content_every_image_is_read() -> None:
    table = clean(batches([row("a"), row("b")])).rows
    assert compare(PartitionRows(table, {"a": stored(0, 0, "/u")}), Changes.CONTENT, no_store).read == [0, 1]


def test_another_signature_in_the_query_is_not_another_image() -> None:
    table = clean(batches([row("a", "https://shop/a.jpg?signature=tonight")])).rows
    rows = PartitionRows(table, {"a": stored(0, 0, "https://shop/a.jpg")})
    assert compare(rows, Changes.STORE, lambda uris: ["v1" for _ in uris]).keep == [0]


def test_a_price_that_is_not_a_number_is_not_a_change_every_night() -> None:
    table = clean(batches([row("a", price=float("nan"))])).rows
    rows = PartitionRows(table, {"a": stored(0, 0, "/u", "v", (("price", "nan"),))})
    assert compare(rows, Changes.STORE, lambda uris: ["v" for _ in uris]).keep == [0]


def test_an_unknown_version_is_read_again() -> None:
    table = clean(batches([row(name, f"https://h/{name}?sig=tonight") for name in ("known", "unknown")])).rows
    rows = PartitionRows(table, {n: stored(0, 0, f"https://h/{n}", "v" * (n == "known")) for n in ("known", "unknown")})
    asked: list[str] = []

    def versions_of(uris: Sequence[str]) -> list[str | None]:
        asked.extend(uris)
        return ["v", ""]

    diff = compare(rows, Changes.STORE, versions_of)
    assert (diff.keep, diff.read) == ([0], [1])
    assert asked == ["https://h/known?sig=tonight", "https://h/unknown?sig=tonight"]


def test_which_of_two_rows_is_kept_does_not_follow_from_their_signatures() -> None:
    for signatures in ("ab", "ba"):
        rows = [row("x", f"https://h/{n}?sig={signatures[n]}", origin=f"c.csv row {n}") for n in range(2)]
        assert clean(batches(rows)).rejects[0].origin == "c.csv row 1"
