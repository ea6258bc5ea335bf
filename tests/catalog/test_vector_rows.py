from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from catalog.spill import Spill
from catalog.vector_rows import check_vectors

VALUES = st.sampled_from(
    [0.0, -0.0, 1.0, -2.5, 1e-8, 1e-30, 1e-46, 1e25, -65_504.0, 65_505.0, 3.5e38, 1e300, np.nan, np.inf]
)


def problem_of(row: np.ndarray, metric: str, vector_type: str) -> str | None:
    """One row, the slow way."""
    with np.errstate(over="ignore"):
        single = [np.float32(value) for value in row]
        stored = [np.float16(value) if vector_type == "float16" else value for value in single]
    if not all(np.isfinite(value) for value in row):
        return "a value is not a finite number"
    if not all(np.isfinite(value) for value in single):
        return "a value is too large for float32"
    if vector_type == "float16" and any(abs(value) > 65_504 for value in single):
        return "a value is too large for float16; import into a store of float32"
    if metric == "cosine" and not any(single):
        return "it is all zeros, which have no direction"
    with np.errstate(over="ignore", under="ignore"):
        length = np.linalg.norm(np.array(stored, np.float32))
    if metric == "cosine" and not 0 < length < np.inf:
        return f"its length is 0 or infinite in {vector_type}, so it has no direction"
    return None


@given(
    arrays(np.float64, st.tuples(st.integers(0, 6), st.just(3)), elements=VALUES),
    st.sampled_from(["cosine", "l2"]),
    st.sampled_from(["float16", "float32"]),
)
@settings(max_examples=200, deadline=None)
def test_what_cannot_be_stored_is_what_a_row_by_row_look_finds(vectors: np.ndarray, metric: str, type_: str) -> None:
    found = check_vectors(vectors, None, metric, type_)
    assert found.problems == [problem_of(row, metric, type_) for row in vectors]
    good = [row for row, problem in zip(vectors, found.problems, strict=True) if problem is None]
    stored = [row for row, problem in zip(found.vectors, found.problems, strict=True) if problem is None]
    assert found.vectors.dtype == type_
    for row, kept in zip(good, stored, strict=True):
        np.testing.assert_array_equal(kept, row.astype(np.float32).astype(type_))
    largest = [np.abs(row.astype(np.float32)).max() for row in good]
    assert found.fits_float16 == all(value == 0 or 2**-14 <= value <= 65_504 for value in largest)


def test_a_missing_vector_is_a_problem_of_its_row_alone() -> None:
    found = check_vectors(np.array([[0, 0], [1, 2]]), np.array([True, False]), "cosine", "float32")
    assert found.problems == ["the row has no vector", None]


def test_unit_length_is_found_whatever_the_type_and_only_where_all_have_it() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 64))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for type_ in ("float16", "float32"):
        assert check_vectors(unit, None, "dot", type_).unit_length
        assert check_vectors(unit.astype(np.float16), None, "dot", type_).unit_length
        assert not check_vectors(np.concatenate([unit, unit[:1] * 1.01]), None, "dot", type_).unit_length


@pytest.mark.parametrize("buffer_bytes", [1, 500, 1 << 20])
def test_a_spill_gives_each_partition_its_rows_in_order(tmp_path: Path, buffer_bytes: int) -> None:
    rng = np.random.default_rng(0)
    schema = pa.schema([("number", pa.int64()), ("text", pa.string())])
    spill = Spill(tmp_path / "s", schema, 8, buffer_bytes)
    expected: dict[int, list[int]] = {partition: [] for partition in range(8)}
    number = 0
    for size in rng.integers(0, 40, 20):
        partitions = rng.integers(0, 7, size)  # The last one stays empty.
        for partition in partitions.tolist():
            expected[partition].append(number)
            number += 1
        numbers = list(range(number - size, number))
        spill.add(pa.record_batch([numbers, [f"t{n}" for n in numbers]], schema=schema), partitions)
    spill.finish()
    assert spill.rows == number
    for partition, rows in expected.items():
        batches = spill.partition(partition)
        assert [n for batch in batches for n in batch.column("number").to_pylist()] == rows
        assert [t for batch in batches for t in batch.column("text").to_pylist()] == [f"t{n}" for n in rows]
    spill.close()
