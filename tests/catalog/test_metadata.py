from __future__ import annotations

import datetime

import pyarrow as pa

from catalog.metadata import cast, comparable, to_dict, unify


def struct(**columns: pa.Array) -> pa.StructArray:
    return pa.StructArray.from_arrays(list(columns.values()), list(columns))


def test_types_are_widened_and_become_text_where_nothing_else_holds_both() -> None:
    one = pa.struct([("a", pa.int64()), ("b", pa.int64()), ("c", pa.null()), ("d", pa.bool_())])
    other = pa.struct([("a", pa.float64()), ("b", pa.string()), ("c", pa.int64()), ("e", pa.string())])
    expected = [("a", pa.float64()), ("b", pa.string()), ("c", pa.int64()), ("d", pa.bool_()), ("e", pa.string())]
    assert unify([one, other]) == pa.struct(expected)


def test_a_whole_number_that_a_float_has_not_is_rounded_and_no_error() -> None:
    values = struct(a=pa.array([2**53 + 1]))
    assert cast(values, pa.struct([("a", pa.float64())])).to_pylist() == [{"a": float(2**53)}]


def test_a_column_is_cast_to_the_wider_type_and_what_it_lacks_is_null() -> None:
    values = struct(a=pa.array([1, None]), b=pa.array([[1, 2], []]))
    target = pa.struct([("a", pa.string()), ("b", pa.string()), ("c", pa.int64())])
    assert cast(values, target).to_pylist() == [{"a": "1", "b": "[1, 2]", "c": None}, {"a": None, "b": "[]", "c": None}]


def test_metadata_is_equal_whatever_the_order_of_columns_and_what_is_null() -> None:
    one = struct(a=pa.array([1.5, float("nan")]), b=pa.array(["x", None]))
    other = struct(b=pa.array(["x", None]), c=pa.nulls(2), a=pa.array([1.5, float("nan")]))
    assert comparable(one, 2) == comparable(other, 2)
    assert comparable(one, 2) != comparable(struct(a=pa.array([2.5, 1.0])), 2)
    assert comparable(None, 2) == [(), ()]


def test_a_date_that_python_has_not_is_text() -> None:
    far = pa.array([400_000_000_000], pa.timestamp("s"))
    near = pa.array([datetime.date(2026, 1, 2)])
    assert to_dict(struct(far=far, near=near)[0]) == {"far": "14645-06-30 15:06:40", "near": datetime.date(2026, 1, 2)}
    assert to_dict(None) == {}
