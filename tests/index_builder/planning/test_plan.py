from __future__ import annotations

import faiss
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UsageError
from index_builder.planning.estimates import index_terms, serving_terms
from index_builder.planning.factory import parse_factory
from index_builder.planning.index_plan import IndexPlan
from index_builder.planning.plan import PlanRequest, list_count, plan_index

MILLION = 1_000_000


def planned(vectors: int = MILLION, dimension: int = 256, metric: str = "cosine", **request: object) -> IndexPlan:
    return plan_index(vectors, dimension, metric, PlanRequest(**request))  # type: ignore[arg-type]


def test_too_few_vectors_get_a_flat_index_and_the_reason() -> None:
    plan = planned(384, 256, "l2")
    assert (plan.family, plan.factory, plan.refine) == ("flat", "Flat", False)
    assert plan.why == "384 vectors are too few to train IVF-PQ on (below 2,000), so the index is Flat: exact"
    assert planned(10_000_000, 256, "l1").family == "flat"


@given(st.integers(2_000, 2_000_000_000), st.integers(1, 4096))
def test_every_plan_is_one_that_faiss_can_build(vectors: int, dimension: int) -> None:
    plan = planned(vectors, dimension)
    assert plan.family == "ivf_pq"
    assert plan.rotated % plan.code_bytes == 0
    assert 0 < plan.rotated <= dimension
    assert plan.lists * 27 <= vectors
    assert plan.lists & (plan.lists - 1) == 0
    assert plan.training_rows <= vectors
    assert (plan.hnsw_links > 0) == (plan.lists >= 16_384)


def test_the_factory_string_is_the_plan() -> None:
    plan = planned(3_017, 1_280)
    assert plan.factory == "OPQ128_512,IVF64,PQ128"
    index = faiss.index_factory(plan.dimension, plan.factory, faiss.METRIC_INNER_PRODUCT)
    inner = faiss.extract_index_ivf(index)
    assert (inner.nlist, inner.code_size, inner.d) == (plan.lists, plan.code_bytes, plan.rotated)


budgets = st.fixed_dictionaries(
    {},
    optional={
        "memory_budget": st.integers(1, 10**11),
        "bytes_per_vector": st.floats(1, 5_000),
        "recall_target": st.floats(0, 1),
        "latency_target_ms": st.floats(0.1, 100),
        "rerank": st.sampled_from(["auto", "stored", "none"]),
    },
)


@given(st.integers(1, 10**9), st.integers(1, 2_048), st.sampled_from(["cosine", "dot", "l2", "l1"]), budgets)
@settings(max_examples=300, deadline=None)
def test_a_plan_is_within_every_budget_or_the_refusal_names_one_that_would_do(
    vectors: int, dimension: int, metric: str, request: dict
) -> None:
    try:
        plan = planned(vectors, dimension, metric, **request)
    except UsageError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert "the smallest that would do is" in refusal
        flag = {"--memory-budget": "memory_budget", "--bytes-per-vector": "bytes_per_vector"}[refusal.split()[0]]
        assert flag in request
        return
    assert sum(serving_terms(plan, vectors).values()) <= request.get("memory_budget", 1e99)
    assert sum(index_terms(plan, vectors).values()) <= request.get("bytes_per_vector", 1e99) * vectors
    if plan.lists:
        again = parse_factory(plan.factory, max(vectors, 39 * plan.lists), dimension, metric)
        assert (again.rotated, again.code_bytes, again.family) == (plan.rotated, plan.code_bytes, plan.family)


@given(st.integers(2_000, 10**8), st.integers(8, 1_024), st.sampled_from(["cosine", "l2"]))
@settings(max_examples=100, deadline=None)
def test_the_budget_that_a_refusal_names_is_enough(vectors: int, dimension: int, metric: str) -> None:
    from pipelines.flag_types import size

    with pytest.raises(UsageError) as refused:
        planned(vectors, dimension, metric, memory_budget=1)
    enough = size(str(refused.value).split("would do is ")[1].split(",")[0])
    planned(vectors, dimension, metric, memory_budget=enough)
    with pytest.raises(UsageError) as refused:
        planned(vectors, dimension, metric, bytes_per_vector=1)
    planned(
        vectors, dimension, metric, bytes_per_vector=float(str(refused.value).split("would do is ")[1].split(",")[0])
    )


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            {"memory_budget": 5_000_000},
            "--memory-budget 5MB is less than the 8MB that row numbers alone take (8 bytes for each of 1,000,000 "
            "vectors); the smallest that would do is 15MB, for OPQ4_16,IVF4096,PQ4",
        ),
        (
            {"memory_budget": 10_000_000},
            "--memory-budget 10MB is less than the 8MB that row numbers take (8 bytes for each of 1,000,000 vectors) "
            "and the 4MB that codes take (4 bytes for each of 1,000,000 vectors); the smallest that would do is "
            "15MB, for OPQ4_16,IVF4096,PQ4",
        ),
        (
            {"bytes_per_vector": 6},
            "--bytes-per-vector 6 is less than the 8.0 that row numbers alone take (8 bytes for each of 1,000,000 "
            "vectors); the smallest that would do is 12.4, for OPQ4_16,IVF4096,PQ4",
        ),
        (
            {"factory": "IVF1024,SQ8", "memory_budget": 100_000_000},
            "--memory-budget 100MB is less than the 256MB that codes alone take (256 bytes for each of 1,000,000 "
            "vectors); the smallest that would do is 267.3MB, for IVF1024,SQ8",
        ),
        (
            {"recall_target": 1.0, "memory_budget": 100_000_000},
            "--memory-budget 100MB is less than the 1.03GB that vectors alone take (1024 bytes for each of "
            "1,000,000 vectors); the smallest that would do is 1.03GB, for Flat",
        ),
        (
            {"factory": "IVF256,PQ16,RFlat", "rerank": "none"},
            "--factory IVF256,PQ16,RFlat keeps the vectors and --rerank none does not; drop one of them",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_what_binds(request_: dict, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        planned(**request_)
    assert str(refused.value) == message


def test_a_memory_budget_buys_the_largest_code_that_fits() -> None:
    small, large = planned(memory_budget=30_000_000), planned(memory_budget=45_000_000, rerank="none")
    assert (small.family, large.family) == ("ivf_pq", "ivf_pq")
    assert small.code_bytes == 16
    assert large.code_bytes == 24
    assert "the best code within --memory-budget 30MB" in small.why
    larger = parse_factory("OPQ32_128,IVF4096,PQ32", MILLION, 256, "cosine")
    assert sum(serving_terms(larger, MILLION).values()) > 45_000_000


def test_for_l2_the_table_of_products_counts_and_four_bit_codes_need_none() -> None:
    assert planned(memory_budget=45_000_000, rerank="none").family == "ivf_pq"
    plan = planned(metric="l2", memory_budget=45_000_000, rerank="none")
    assert (plan.family, plan.code_bytes) == ("ivf_pq_fastscan", 16)
    assert "table" in plan.why
    with_table = parse_factory("OPQ16_64,IVF4096,PQ16", MILLION, 256, "l2")
    assert serving_terms(with_table, MILLION)["table of products"] == 4096 * 16 * 256 * 4


def test_a_tight_budget_with_vectors_to_re_rank_by_takes_one_bit_a_dimension() -> None:
    plan = planned(bytes_per_vector=60)
    assert (plan.family, plan.factory, plan.code_bytes, plan.refine) == ("ivf_rabitq", "IVF4096,RaBitQ", 40, True)
    assert planned(bytes_per_vector=60, rerank="none").family == "ivf_pq"
    assert planned(dimension=128, bytes_per_vector=30).family == "ivf_pq"
    assert planned(bytes_per_vector=100).family == "ivf_pq"


def test_a_high_recall_needs_the_vectors_and_takes_the_fastest_codes() -> None:
    plan = planned(recall_target=0.95)
    assert (plan.factory, plan.refine) == ("IVF4096,PQ64x4fs", True)
    assert "which --recall-target 0.95 needs" in plan.why
    # Beyond 4 GiB they are kept for the target alone.
    assert planned(100 * MILLION).refine is False
    kept = planned(100 * MILLION, recall_target=0.95)
    assert kept.refine is True
    assert "--recall-target 0.95 is more than codes reach alone" in kept.why
    alone = planned(recall_target=0.95, rerank="none")
    assert (alone.factory, alone.refine) == ("IVF4096,SQ8", False)
    assert planned(recall_target=0.8).family == "ivf_pq"
    assert planned(recall_target=1.0).family == "flat"


def test_a_latency_target_takes_the_fastest_codes_where_vectors_are_kept() -> None:
    assert planned(latency_target_ms=5).factory == "IVF4096,PQ64x4fs"
    # 250 dimensions cannot be cut into fours: the two that vary least go.
    assert planned(dimension=250, latency_target_ms=5).factory == "OPQ62_248,IVF4096,PQ62x4fs"
    assert planned(latency_target_ms=5, rerank="none").family == "ivf_pq"


@pytest.mark.parametrize("vectors", [10**9, 2 * 10**9])
def test_lists_of_a_billion_hold_a_few_thousand(vectors: int) -> None:
    assert 1_000 <= vectors / list_count(vectors) <= 4_000
    assert planned(vectors).factory.endswith("_HNSW32,PQ32")


@given(st.integers(40, 2 * 10**9))
def test_more_vectors_never_have_fewer_lists(vectors: int) -> None:
    assert list_count(vectors) <= list_count(vectors + vectors // 10)


def test_a_factory_is_taken_as_it_is() -> None:
    plan = planned(factory="IVF100,PQ16x4fs,RFlat", parts=3)
    assert (plan.factory, plan.refine, plan.parts) == ("IVF100,PQ16x4fs", True, 3)
    assert planned(factory="IVF100,PQ16").refine is False
    assert planned(factory="IVF100,PQ16", rerank="stored").refine is True
    assert planned(factory="Flat", rerank="stored").refine is False
