from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_builder.plan import plan_index
from index_builder.sample import merge_samples, sample


def test_too_few_vectors_get_a_flat_index_and_the_reason() -> None:
    plan = plan_index(384, 256, "l2")
    assert (plan.family, plan.factory) == ("flat", "Flat")
    assert plan.why == "384 vectors are too few to train IVF-PQ on (below 2,000), so the index is Flat: exact"
    assert plan_index(10_000_000, 256, "l1").family == "flat"


@given(st.integers(2_000, 2_000_000_000), st.integers(1, 4096))
def test_every_plan_is_one_that_faiss_can_build(vectors: int, dimension: int) -> None:
    plan = plan_index(vectors, dimension, "cosine")
    assert plan.family == "ivf_pq"
    assert plan.rotated % plan.code_bytes == 0
    assert 0 < plan.rotated <= dimension
    assert plan.lists * 27 <= vectors
    assert plan.lists & (plan.lists - 1) == 0
    assert plan.training_rows <= vectors


def test_the_factory_string_is_the_plan() -> None:
    plan = plan_index(3_017, 1_280, "cosine")
    assert plan.factory == "OPQ128_512,IVF64,PQ128"
    index = faiss.index_factory(plan.dimension, plan.factory, faiss.METRIC_INNER_PRODUCT)
    inner = faiss.extract_index_ivf(index)
    assert (inner.nlist, inner.code_size, inner.d) == (plan.lists, plan.code_bytes, plan.rotated)


def test_a_sample_is_the_same_however_the_rows_are_cut_and_ordered() -> None:
    ids = [f"item-{number}" for number in range(2_000)]
    vectors = np.arange(2_000, dtype=np.float32)[:, None]
    whole = merge_samples([sample(ids, vectors, 0, 7, 0.3)], 400)
    parts = [sample(ids[i : i + 333], vectors[i : i + 333], i, 7, 0.3) for i in range(0, 2_000, 333)]
    cut = merge_samples(parts[::-1], 400)
    np.testing.assert_array_equal(whole.rows, cut.rows)
    np.testing.assert_array_equal(whole.vectors, cut.vectors)
    assert len(whole.rows) == 400
    assert set(whole.rows.tolist()) != set(range(400))
    other = merge_samples([sample(ids, vectors, 0, 8, 0.3)], 400)
    assert set(other.rows.tolist()) != set(whole.rows.tolist())


def test_vectors_that_are_not_finite_are_not_sampled() -> None:
    vectors = np.ones((3, 2), np.float32)
    vectors[1, 0] = np.nan
    assert sample(["a", "b", "c"], vectors, 10, 1, 1.0).rows.tolist() == [10, 12]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_a_sample_has_about_its_share_of_the_rows(share: float) -> None:
    ids = [f"item-{number}" for number in range(20_000)]
    found = len(sample(ids, np.ones((20_000, 1), np.float32), 0, 3, share).rows)
    assert abs(found - 20_000 * share) < 5 * np.sqrt(20_000 * share)
