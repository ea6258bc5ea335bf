from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupe.placeholders import (
    MANY_GROUPS,
    MANY_PRODUCTS,
    NEARLY_EMPTY,
    NOTHING,
    PlaceholderRule,
    nearly_empty,
    placeholders,
)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_group_is_judged_as_a_loop_over_its_rows_judges_it(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 20))
    group = data.draw(st.lists(st.integers(-3, 3), min_size=size, max_size=size))
    product = data.draw(st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=size, max_size=size))
    vendor = data.draw(st.lists(st.integers(-1, 2), min_size=size, max_size=size))
    empty = data.draw(st.lists(st.sampled_from([False] * 5 + [True]), min_size=size, max_size=size))
    rule = PlaceholderRule(data.draw(st.integers(0, 3)), data.draw(st.none() | st.integers(0, 3)))

    def reason(one: int) -> int:
        rows = [row for row in range(size) if group[row] == one]
        if len({product[row] for row in rows} - {None}) > rule.products:
            return MANY_PRODUCTS
        if rule.groups is not None and len({vendor[row] for row in rows} - {-1}) > rule.groups:
            return MANY_GROUPS
        return NEARLY_EMPTY if any(empty[row] for row in rows) else NOTHING

    found = placeholders(
        np.array(group, np.int64),
        pa.array(product, pa.string()),
        np.array(vendor, np.int32),
        np.array(empty, bool),
        rule,
    )
    assert found.tolist() == [reason(one) for one in group]


def test_ten_products_may_share_a_picture_and_eleven_may_not() -> None:
    group = np.array([1] * 10 + [2] * 11)
    product = pa.array([f"p{number}" for number in range(21)])
    found = placeholders(group, product, np.full(21, -1, np.int32), np.zeros(21, bool))
    assert found.tolist() == [NOTHING] * 10 + [MANY_PRODUCTS] * 11


def test_a_million_copies_under_one_product_are_no_placeholder() -> None:
    size = 1_000_000
    product = pa.array(["p"]).take(pa.array(np.zeros(size, np.int64)))
    found = placeholders(np.zeros(size, np.int64), product, np.zeros(size, np.int32), np.zeros(size, bool))
    assert not found.any()


def test_a_blank_is_nearly_empty_with_noise_and_in_any_colour_and_a_thin_line_is_not() -> None:
    drawn = np.random.default_rng(2)
    blank = np.tile(np.array([250, 10, 128], np.uint8), (1, 64))
    noisy = (blank + drawn.integers(0, 5, blank.shape)).clip(0, 255).astype(np.uint8)
    line = blank.copy()
    line[0, 3 * 30 : 3 * 33] -= 5
    assert nearly_empty(np.concatenate([blank, noisy, line])).tolist() == [True, True, False]
    assert nearly_empty(np.empty((0, 192), np.uint8)).tolist() == []
