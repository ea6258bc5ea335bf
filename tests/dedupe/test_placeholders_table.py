"""Placeholders: a line each, whatever stretches their items are in."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dedupe.placeholders_table import merged, summarize

ITEM = st.tuples(st.sampled_from("pqr"), st.sampled_from([None, "x", "y"]), st.sampled_from([None, "v", "w"]))


@given(st.lists(ITEM, min_size=1, max_size=20), st.integers(1, 4))
def test_parts_of_any_cut_merge_to_the_summary_of_all(items, parts) -> None:
    rows = [
        {
            "placeholder": name,
            "why": "many_products",
            "item_id": f"i{number:02d}",
            "group_value": group,
            "product_id": product,
            "image_uri": f"/{number}.jpg",
            "thumbnail": bytes([number]) * 192,
        }
        for number, (name, product, group) in enumerate(items)
    ]
    kind = pa.table(
        {
            **{
                name: pa.array([], pa.string())
                for name in ("placeholder", "why", "item_id", "group_value", "product_id", "image_uri")
            },
            "thumbnail": pa.array([], pa.binary(192)),
        }
    ).schema
    whole = merged(summarize(pa.Table.from_pylist(rows, schema=kind)))
    cut = [summarize(pa.Table.from_pylist(rows[start::parts], schema=kind)) for start in range(parts)]
    assert merged(pa.concat_tables(cut)).to_pylist() == whole.to_pylist()
    for line in whole.to_pylist():
        mine = [row for row in rows if row["placeholder"] == line["placeholder_id"]]
        assert line["items"] == len(mine)
        assert line["item_id"] == mine[0]["item_id"]
        assert line["products"] == sorted({row["product_id"] for row in mine} - {None})
        assert line["group_values"] == sorted({row["group_value"] for row in mine} - {None})
