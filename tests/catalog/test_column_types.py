from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.column_types import convert, kind_of, merge_kinds, type_of_kind


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([], "empty"),
        (["", ""], "empty"),
        (["1", "-20", "0", ""], "int"),
        (["123456789012345678", "1"], "long"),
        (["123456789012345678", "1.5"], "text"),
        (["-0"], "float"),
        (["1", "2.5", "-0.25", "1e-05", "1.5E3"], "float"),
        (["0.00012345678901234567", "0.0", "1.7976931348623157e+308", "2.2250738585072014e-308"], "float"),
        (["0.123456789012345678901234"], "text"),
        (["1.5e999"], "text"),
        (["1e-999", "1"], "text"),
        (["1.5"] * 100 + ["x"], "text"),
        (["true", "False", ""], "bool"),
        (["00123", "12"], "text"),
        (["12E4"], "text"),
        (["1234567890123456789"], "text"),
        (["1,5"], "text"),
        (["+1"], "text"),
        (["NaN"], "text"),
        (["2024-01-01"], "text"),
    ],
)
def test_a_kind_is_found_only_where_no_text_is_lost(values: list[str], kind: str) -> None:
    assert kind_of(pa.array(values, pa.string())) == kind


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_as_python_prints_it_is_a_float_or_stays_as_it_is(value: float) -> None:
    kind = kind_of(pa.array([repr(value)]))
    if 1e-4 <= abs(value) < 1e15 or abs(value) >= 1e16:
        assert kind == "float"
    assert float(convert(pa.array([repr(value)]), type_of_kind(kind))[0].as_py()) == value


_CELLS = st.one_of(
    st.integers(-(10**17), 10**17).map(str),
    st.floats(-1e6, 1e6, allow_nan=False).map(repr),
    st.booleans().map(str),
    st.sampled_from(["", "007", "x", "12E4", "true"]),
)


@given(st.lists(_CELLS), st.lists(_CELLS))
def test_looking_at_two_blocks_apart_and_merging_holds_every_cell(one: list[str], other: list[str]) -> None:
    merged = merge_kinds(kind_of(pa.array(one, pa.string())), kind_of(pa.array(other, pa.string())))
    cells = one + other
    assert type_of_kind(merged) == type_of_kind(kind_of(pa.array(cells, pa.string())))
    values = convert(pa.array(cells, pa.string()), type_of_kind(merged)).to_pylist()
    for cell, value in zip(cells, values, strict=True):
        assert (value is None) == (cell == "")
        if merged == "text" and cell:
            assert value == cell
        if merged in ("int", "long") and cell:
            assert str(value) == cell
        if merged == "float" and cell:
            assert value == float(cell)


@given(
    st.sampled_from(["empty", "bool", "int", "long", "float", "json", "text"]),
    st.sampled_from(["empty", "bool", "int", "long", "float", "json"]),
)
def test_merging_does_not_depend_on_the_order(one: str, other: str) -> None:
    assert merge_kinds(one, other) == merge_kinds(other, one)
