"""Items with one hash: a star of edges, or one placeholder."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dedupe.exact import class_stars
from dedupe.settings import BYTES, PIXELS, Settings
from dedupe.stages.describing import CLASSES

ENTRIES = st.lists(
    st.tuples(
        st.sampled_from([BYTES, PIXELS]),
        st.integers(0, 3),
        st.booleans(),
        st.sampled_from([None, "a", "b", "c"]),
        st.lists(st.integers(0, 6), max_size=3),
    ),
    max_size=20,
)


def table(entries: list[tuple]) -> pa.Table:
    rows = [
        {
            "tier": tier,
            "high": key,
            "low": key * 2,
            "row": row,
            "weight": 1,
            "empty": empty,
            "group_value": group,
            "products": sorted(set(products)),
        }
        for row, (tier, key, empty, group, products) in enumerate(entries)
    ]
    return pa.Table.from_pylist(rows, schema=CLASSES)


@given(ENTRIES, st.integers(1, 4), st.sampled_from([None, 1, 2]), st.randoms())
def test_a_class_is_a_star_from_its_lowest_row_or_a_placeholder(entries, products, groups, random) -> None:
    settings = Settings(placeholder_products=products, placeholder_groups=groups)
    edges, marks = set(), {}
    for tier in (BYTES, PIXELS):
        for key in range(4):
            rows = [row for row, entry in enumerate(entries) if entry[:2] == (tier, key)]
            spanned = {product for row in rows for product in entries[row][4]}
            values = {entries[row][3] for row in rows} - {None}
            if len(spanned) > products:
                why = "many_products"
            elif groups is not None and len(values) > groups:
                why = "many_groups"
            elif any(entries[row][2] for row in rows):
                why = "nearly_empty"
            else:
                edges |= {(rows[0], row, tier) for row in rows[1:]}
                continue
            marks |= {(row, tier): why for row in rows}
    shuffled = table(entries).take(pa.array(random.sample(range(len(entries)), len(entries)), pa.int64()))
    found, marked = class_stars(shuffled, settings)
    assert {tuple(edge.values()) for edge in found.to_pylist()} == edges
    assert sorted((each["row"], each["why"]) for each in marked.to_pylist()) == sorted(
        (row, why) for (row, _), why in marks.items()
    )
    assert len({each["placeholder"] for each in marked.to_pylist()}) == len({entries[row][:2] for row, _ in marks})


def test_a_hundred_thousand_copies_of_one_picture_are_as_many_edges() -> None:
    count = 100_000
    entries = pa.table(
        {
            "tier": pa.array(np.full(count, BYTES, np.int8)),
            "high": pa.array(np.full(count, 7, np.uint64)),
            "low": pa.array(np.full(count, 9, np.uint64)),
            "row": pa.array(np.arange(count)),
            "weight": pa.array(np.ones(count, np.int64)),
            "empty": pa.array(np.zeros(count, bool)),
            "group_value": pa.nulls(count, pa.string()),
            "products": pa.array([[]] * count, pa.list_(pa.uint64())),
        }
    )
    edges, marks = class_stars(entries, Settings())
    assert len(edges) == count - 1
    assert not len(marks)
    assert set(edges["row_a"].to_pylist()) == {0}
