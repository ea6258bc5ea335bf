from __future__ import annotations

import faiss
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UsageError
from index_builder.measures import faiss_metric
from index_builder.planning.factory import factory_string, ivf_plan, parse_factory
from index_builder.planning.index_plan import IndexPlan

MILLION = 1_000_000


@st.composite
def plans(draw: st.DrawFn) -> IndexPlan:
    """Plans of every family with lists, at a million vectors."""
    code = draw(st.sampled_from(["pq8", "pq4", "rabitq", "sq8", "sq4", "sqfp16"]))
    product = code.startswith("pq")
    subquantizers = draw(st.integers(1, 12)) if product else 0
    rotated = max(1, subquantizers) * draw(st.integers(1, 5))
    rotation = draw(st.sampled_from(["none", "pca", "random", *(["opq"] if product else [])]))
    dimension = rotated if rotation == "none" else rotated + draw(st.integers(0, 9))
    return ivf_plan(
        MILLION,
        dimension,
        draw(st.sampled_from(["cosine", "dot", "l2"])),
        code=code,
        lists=draw(st.integers(1, 3_000)),
        rotation=rotation,
        rotated=rotated,
        hnsw_links=draw(st.sampled_from([0, 2, 32])),
        subquantizers=subquantizers,
        fastscan=code == "pq4" and draw(st.booleans()),
    )


@given(plans())
@settings(max_examples=200, deadline=None)
def test_a_plan_is_read_back_from_its_string(plan: IndexPlan) -> None:
    again = parse_factory(plan.factory, MILLION, plan.dimension, plan.metric)
    assert again.identity() == plan.identity()
    assert factory_string(again) == plan.factory


@given(plans())
@settings(max_examples=100, deadline=None)
def test_faiss_understands_the_string_as_we_do(plan: IndexPlan) -> None:
    index = faiss.index_factory(plan.dimension, plan.factory, faiss_metric(plan.metric))
    inner = faiss.downcast_index(faiss.extract_index_ivf(index))
    assert (inner.nlist, inner.d, inner.code_size) == (plan.lists, plan.rotated, plan.code_bytes)
    assert (inner.metric_type, index.d) == (faiss_metric(plan.metric), plan.dimension)
    is_graph = isinstance(faiss.downcast_index(inner.quantizer), faiss.IndexHNSW)
    assert is_graph == (plan.hnsw_links > 0)
    kinds = {
        "ivf_pq": faiss.IndexIVFPQ,
        "ivf_pq_fastscan": faiss.IndexIVFPQFastScan,
        "ivf_rabitq": faiss.IndexIVFRaBitQ,
        "ivf_sq": faiss.IndexIVFScalarQuantizer,
    }
    assert type(inner) is kinds[plan.family]


@pytest.mark.parametrize(
    ("text", "family", "factory"),
    [
        ("OPQ16,IVF256,PQ16", "ivf_pq", "OPQ16_64,IVF256,PQ16"),
        ("IVF256,PQ16x8", "ivf_pq", "IVF256,PQ16"),
        ("IVF1k,PQ16", "ivf_pq", "IVF1024,PQ16"),
        ("IVF256_HNSW,PQ16", "ivf_pq", "IVF256_HNSW32,PQ16"),
        ("RR,IVF256,RaBitQ", "ivf_rabitq", "RR64,IVF256,RaBitQ"),
        ("OPQ8_64,IVF256,PQ16", "whole", "OPQ8_64,IVF256,PQ16"),
        ("IVF256,Flat", "whole", "IVF256,Flat"),
        ("HNSW32", "whole", "HNSW32"),
        ("IVF256,PQ16x4fsr", "whole", "IVF256,PQ16x4fsr"),
        ("Flat", "flat", "Flat"),
    ],
)
def test_short_forms_are_written_out_and_the_rest_is_left_to_faiss(text: str, family: str, factory: str) -> None:
    plan = parse_factory(text, MILLION, 64, "l2")
    assert (plan.family, plan.factory, plan.refine) == (family, factory, False)
    assert plan.why == f"--factory {text} asks for it"


@pytest.mark.parametrize("refine", ["RFlat", "Refine(SQfp16)", "Refine(Flat)"])
@pytest.mark.parametrize("base", ["IVF256,PQ16x4fs", "SQ6"])
def test_refinement_keeps_the_vectors_and_is_no_part_of_the_file(base: str, refine: str) -> None:
    plan = parse_factory(f"{base},{refine}", MILLION, 64, "cosine")
    assert (plan.factory, plan.refine) == (base, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("IVF256,PQ16,Refine(SQ8)", "--factory IVF256,PQ16,Refine(SQ8) refines by SQ8, but"),
        ("IVF256,PQ24", "cuts 64 dimensions into 24 sub-quantizers, which must divide them; .* that does is 16"),
        ("OPQ16_96,IVF256,PQ16", "rotates to 96 dimensions; of 64, 1 to 64 can be kept"),
        ("IVF512,PQ16", "has 512 lists, which need 39 vectors each; 10,000 vectors are enough for 256 lists"),
        ("IVF512,Flat", "has 512 lists, which need 39 vectors each; 10,000 vectors are enough for 256 lists"),
        ("IVF0,PQ16", "has no lists"),
        ("IVF16_HNSW1,PQ16", "has a graph of 1 links a node"),
        ("nonsense", "--factory nonsense is none that FAISS can build of 64 dimensions and l2"),
        ("IDMap,Flat", "drop IDMap"),
        ("", "is none that FAISS can build"),
    ],
)
def test_what_cannot_be_is_refused_with_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(").replace(")", r"\)")):
        parse_factory(text, 10_000, 64, "l2")


def test_too_few_vectors_are_refused() -> None:
    with pytest.raises(UsageError, match="learns 256 centroids a sub-quantizer, for which 200 vectors are too few"):
        parse_factory("IVF4,PQ16", 200, 64, "l2")
    with pytest.raises(UsageError, match="30 vectors are too few for lists; write --factory Flat"):
        parse_factory("IVF4,SQ8", 30, 64, "l2")


def test_l1_is_flat_only() -> None:
    assert parse_factory("Flat", 100, 8, "l1").family == "flat"
    with pytest.raises(UsageError, match="l1 is only searched exactly; write --factory Flat"):
        parse_factory("IVF4,SQ8", 1_000, 8, "l1")
