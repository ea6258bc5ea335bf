from __future__ import annotations

import faiss
from hypothesis import given
from hypothesis import strategies as st

from index_builder.plan import plan_index


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
