from __future__ import annotations

import random
from collections.abc import Iterable

import pyarrow as pa

from catalog.partition_rows import StoredItem, clean, compare
from catalog.rows import row_schema

SCHEMA = row_schema(pa.schema([("price", pa.float64())]))


def row(item_id: str, uri: str = "/u", price: float | None = 1.0, origin: str = "c.csv row 2", **more: str) -> dict:
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


def test_rows_are_sorted_and_of_repeated_ids_one_is_kept_whatever_the_order() -> None:
    rows = [row("b"), row("a", "/2", origin="c.csv row 3"), row("a", "/1", origin="c.csv row 9"), row("c")]
    for seed in range(6):
        shuffled = random.Random(seed).sample(rows, len(rows))
        cleaned = clean(batches(shuffled), SCHEMA)
        assert cleaned.rows["item_id"].to_pylist() == ["a", "b", "c"]
        assert cleaned.rows["image_uri"].to_pylist()[0] == "/1"
        assert [(r.item_id, r.origin, r.reason) for r in cleaned.rejects] == [("a", "c.csv row 3", "duplicate_item_id")]
        assert cleaned.rejects[0].detail == "the id is also in c.csv row 9, which is kept"


def test_rows_with_a_reason_become_rejects_with_a_sentence() -> None:
    cleaned = clean(batches([row("", reason="empty_item_id"), row("a")]), SCHEMA)
    assert [(r.reason, r.detail) for r in cleaned.rejects] == [("empty_item_id", "the item id is empty")]
    assert len(cleaned.rows) == 1


def test_every_row_is_kept_updated_or_encoded_and_what_left_is_removed() -> None:
    names = ["changed_image", "changed_place", "changed_price", "new", "same", "unreadable"]
    rows = clean(batches([row(name, f"/{name}") for name in names]), SCHEMA).rows
    price = (("price", "1"),)
    stored = {
        "same": StoredItem(0, 0, "/same", "v1", None, price),
        "changed_image": StoredItem(0, 1, "/changed_image", "v0", None, price),
        "changed_place": StoredItem(0, 2, "/elsewhere", "v1", None, price),
        "changed_price": StoredItem(1, 0, "/changed_price", "v1", None, (("price", "2"),)),
        "unreadable": StoredItem(1, 1, "/unreadable", "v1", None, price),
        "gone": StoredItem(1, 2, "/gone", "v1", None, price),
    }
    diff = compare(rows, stored, lambda uris: [None if uri == "/unreadable" else "v1" for uri in uris])
    named = rows["item_id"].to_pylist()
    assert [named[i] for i in diff.keep] == ["same"]
    assert [named[i] for i in diff.update] == ["changed_price"]
    assert [named[i] for i in diff.encode] == ["changed_image", "changed_place", "new", "unreadable"]
    assert {file: sorted(ids) for file, ids in diff.superseded.items()} == {
        0: ["changed_image", "changed_place"],
        1: ["changed_price", "gone", "unreadable"],
    }
    assert diff.removed == 1


def test_a_price_that_is_not_a_number_is_not_a_change_every_night() -> None:
    rows = clean(batches([row("a", price=float("nan"))]), SCHEMA).rows
    stored = {"a": StoredItem(0, 0, "/u", "v", None, (("price", "nan"),))}
    assert compare(rows, stored, lambda uris: ["v" for _ in uris]).keep == [0]


def test_a_new_signature_is_no_other_image_and_an_unknown_version_is_read_again() -> None:
    rows = clean(batches([row(name, f"https://h/{name}?sig=tonight") for name in ("known", "unknown")]), SCHEMA).rows
    price = (("price", "1"),)
    stored = {
        name: StoredItem(0, 0, f"https://h/{name}", "v" * (name == "known"), None, price)
        for name in rows["item_id"].to_pylist()
    }
    asked: list[str] = []

    def versions_of(uris: Iterable[str]) -> list[str | None]:
        asked.extend(uris)
        return ["v", ""]

    diff = compare(rows, stored, versions_of)
    assert (diff.keep, diff.encode) == ([0], [1])
    assert asked == ["https://h/known?sig=tonight", "https://h/unknown?sig=tonight"]


def test_which_of_two_rows_is_kept_does_not_follow_from_their_signatures() -> None:
    for signatures in ("ab", "ba"):
        rows = [row("x", f"https://h/{n}?sig={signatures[n]}", origin=f"c.csv row {n}") for n in range(2)]
        assert clean(batches(rows), SCHEMA).rejects[0].origin == "c.csv row 1"
