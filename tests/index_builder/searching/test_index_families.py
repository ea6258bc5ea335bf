"""Every kind of index is searched as FAISS searches it, in one file or in parts, from one thread or many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UsageError
from index_builder.measures import larger_is_nearer, prepare
from index_builder.searching.index_parts import ListParts, read_index
from index_builder.searching.row_set import RowFilter, RowSet
from index_builder.searching.searcher import OperatingPoint, Searcher
from index_builder.searching.stored_search import measure, nearest_first
from index_builder.searching.vector_file import StoredVectors, write_vectors
from tests.index_builder.at_once import wrong_at_once
from tests.index_builder.vectors import clustered, exact_rows
from tests.index_builder.versions import build_index, write_parts

ROWS, DIMENSION, LISTS = 2_000, 16, 24
LIST_FAMILIES = (
    "IVF24,PQ4",
    "PCAR8,IVF24,PQ4x6",
    "IVF24,PQ8x4fs",
    "RR16,IVF24_HNSW8,PQ8x4fs",
    "IVF24,RaBitQ",
    "RR16,IVF24,RaBitQ",
    "IVF24,SQ8",
    "PCAR8,IVF24_HNSW8,SQfp16",
    "IVF24,Flat",
)
_BUILT: dict[tuple[str, str], Any] = {}


def vectors_of(metric: str) -> np.ndarray:
    """Some rows are copies of others, so that codes tie."""
    vectors = clustered(ROWS, DIMENSION)
    vectors[1_500:1_560] = vectors[7]
    vectors[1_600:1_700] = vectors[:100]
    return prepare(vectors, metric)


def index_of(factory: str, metric: str) -> Any:
    if (factory, metric) not in _BUILT:
        _BUILT[factory, metric] = build_index(factory, vectors_of(metric), metric)
    return _BUILT[factory, metric]


def queries_of(metric: str, count: int = 40) -> np.ndarray:
    return np.concatenate([vectors_of(metric)[:10], prepare(clustered(count - 10, DIMENSION, seed=3), metric)])


def written(index: Any, folder: Path) -> Path:
    faiss.write_index(index, str(folder / "index.faiss"))
    return folder / "index.faiss"


def effort(index: Any, nprobe: int) -> Any:
    """FAISS's own parameters for `index.search`."""
    graph = isinstance(faiss.downcast_index(faiss.extract_index_ivf(index).quantizer), faiss.IndexHNSW)
    options = {"quantizer_params": faiss.SearchParametersHNSW(efSearch=max(16, 2 * nprobe))} if graph else {}
    inner = faiss.downcast_index(faiss.extract_index_ivf(index))
    if isinstance(inner, faiss.IndexIVFRaBitQ):
        lists = faiss.IVFRaBitQSearchParameters(nprobe=nprobe, qb=inner.qb, centered=False, **options)
    else:
        lists = faiss.SearchParametersIVF(nprobe=nprobe, **options)
    pre = isinstance(index, faiss.IndexPreTransform)
    return faiss.SearchParametersPreTransform(index_params=lists) if pre else lists


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("factory", LIST_FAMILIES)
def test_codes_are_compared_as_faiss_compares_them(factory: str, metric: str, tmp_path: Path) -> None:
    index = index_of(factory, metric)
    searcher = Searcher([written(index, tmp_path)], [], metric)
    assert (searcher.rows, searcher.dimension, searcher.vector(0)) == (ROWS, DIMENSION, None)
    queries = queries_of(metric)
    for nprobe in (5, LISTS - 1):
        values, rows = index.search(prepare(queries, metric), 10, params=effort(index, nprobe))
        found, measured = searcher.search(queries, 10, OperatingPoint(nprobe, 0))
        np.testing.assert_array_equal(measured, values)
        for mine, theirs, each in zip(found, rows, values, strict=True):
            inside = each != each[-1]  # Of equals at the end, which are kept is FAISS's own affair.
            assert set(mine[inside]) == set(theirs[inside])


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("factory", LIST_FAMILIES)
@pytest.mark.parametrize("rerank", [0, 4])
def test_parts_answer_as_the_whole_does(factory: str, metric: str, rerank: int, tmp_path: Path) -> None:
    index, vectors = index_of(factory, metric), vectors_of(metric)
    kept = []
    if rerank:
        write_vectors(tmp_path / "v.npy", [vectors], ROWS, DIMENSION, "float32")
        kept = [tmp_path / "v.npy"]
    whole = Searcher([written(index, tmp_path)], kept, metric)
    parts = Searcher(write_parts(index, tmp_path, 3), kept, metric)
    assert parts.rows == ROWS
    few = RowFilter(ROWS, RowSet.of_rows(np.arange(0, ROWS, 3), ROWS), np.array([3, 9]))
    for nprobe in (1, 3, 9, LISTS):
        for selector in (None, few):
            for k in (1, 10, 70):
                point = OperatingPoint(nprobe, rerank)
                rows, values = whole.search(queries_of(metric), k, point, selector)
                split_rows, split_values = parts.search(queries_of(metric), k, point, selector)
                np.testing.assert_array_equal(split_rows, rows)
                np.testing.assert_array_equal(split_values, values)


@pytest.mark.parametrize("factory", [*LIST_FAMILIES, "Flat", "HNSW8"])
def test_eight_threads_at_once_get_the_answers_that_one_gets(factory: str, tmp_path: Path) -> None:
    searcher = Searcher([written(index_of(factory, "cosine"), tmp_path)], [], "cosine")
    chosen = RowFilter(ROWS, None, np.arange(0, ROWS, 7))
    questions = [
        (queries_of("cosine")[start : start + 5], OperatingPoint(1 + start % 7, 0), selector)
        for start in range(0, 40, 5)
        for selector in (None, chosen)
    ]
    alone = [searcher.search(queries, 10, point, selector) for queries, point, selector in questions]

    def is_right(number: int) -> bool:
        queries, point, selector = questions[number]
        found = searcher.search(queries, 10, point, selector)
        return all(np.array_equal(mine, right) for mine, right in zip(found, alone[number], strict=True))

    assert wrong_at_once(len(questions), is_right, turns=60) == []


@pytest.mark.parametrize("factory", ["IVF24,PQ4", "PCAR8,IVF24_HNSW8,SQfp16", "IVF24,PQ8x4fs"])
def test_codes_alone_find_k_rows_wherever_k_rows_are_allowed(factory: str, tmp_path: Path) -> None:
    searcher = Searcher([written(index_of(factory, "cosine"), tmp_path)], [], "cosine")
    for allowed in ([5], [3, 77, 400, 1_999], list(range(0, ROWS, 50))):
        chosen = RowFilter(ROWS, RowSet.of_rows(np.array(allowed), ROWS), np.empty(0, np.int64))
        rows, _ = searcher.search(queries_of("cosine"), 10, OperatingPoint(1, 0), chosen)
        for found in rows:
            assert len(set(found.tolist()) - {-1}) == min(10, len(allowed))
            assert set(found.tolist()) - {-1} <= set(allowed)


def test_lists_that_the_graph_does_not_lead_to_are_visited_when_all_are_asked_for(tmp_path: Path) -> None:
    index = faiss.clone_index(index_of("PCAR8,IVF24_HNSW8,SQfp16", "cosine"))
    links = faiss.downcast_index(faiss.extract_index_ivf(index).quantizer).hnsw.neighbors
    faiss.copy_array_to_vector(np.full(links.size(), -1, np.int32), links)
    searcher = Searcher([written(index, tmp_path)], [], "cosine")
    rows, _ = searcher.search(queries_of("cosine", 12), ROWS, OperatingPoint(1, 0))
    assert all(sorted(found.tolist()) == list(range(ROWS)) for found in rows)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2", "l1"])
@pytest.mark.parametrize("factory", ["Flat", "HNSW8"])
@pytest.mark.parametrize("exact", [0, 1 << 20])
def test_an_index_without_lists_leaves_out_what_is_not_allowed(
    factory: str, metric: str, exact: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index_builder.searching.searcher.EXACT_ROWS", exact)
    vectors = clustered(ROWS, DIMENSION, seed=8)
    index = build_index(factory, prepare(vectors, metric), metric)
    searcher = Searcher([written(index, tmp_path)], [], metric)
    queries = clustered(15, DIMENSION, seed=9)
    allowed = np.arange(0, ROWS, 5)
    chosen = RowFilter(ROWS, RowSet.of_rows(allowed, ROWS), allowed[:3])
    kept = allowed[3:]
    rows, _ = searcher.search(queries, 10, OperatingPoint(0, 0, 200), chosen)
    exact_found = kept[exact_rows(queries, vectors[kept], metric, 10)]
    if factory == "Flat" or exact:
        np.testing.assert_array_equal(rows, exact_found)
    else:
        assert np.isin(rows, kept).all()
        assert np.mean([len(set(a) & set(b)) for a, b in zip(rows, exact_found, strict=True)]) > 8


def test_a_graph_that_does_not_lead_to_all_allowed_rows_is_not_the_end_of_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index_builder.searching.searcher.EXACT_ROWS", 0)
    searcher = Searcher([written(index_of("HNSW8", "l2"), tmp_path)], [], "l2")
    allowed = np.array([2, 900, 1_300])
    chosen = RowFilter(ROWS, RowSet.of_rows(allowed, ROWS), np.empty(0, np.int64))
    rows, _ = searcher.search(queries_of("l2"), 3, OperatingPoint(0, 0, 1), chosen)
    assert all(sorted(found.tolist()) == allowed.tolist() for found in rows)


def test_what_can_be_mapped_is_mapped(tmp_path: Path) -> None:
    lists = read_index(written(index_of("IVF24,PQ4", "l2"), tmp_path))
    assert isinstance(faiss.downcast_InvertedLists(lists.invlists), faiss.OnDiskInvertedLists)
    flat = faiss.IndexFlatL2(256)
    flat.add(np.zeros((40_000, 256), np.float32))
    path = written(flat, tmp_path)

    def resident() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("RssAnon")).split()[1])

    before = resident()
    opened = read_index(path)
    assert opened.ntotal == 40_000
    assert resident() - before < 10_000  # Of 40,000 kilobytes.


def test_only_lists_are_in_several_files(tmp_path: Path) -> None:
    path = written(index_of("Flat", "l2"), tmp_path)
    with pytest.raises(UsageError, match="has no inverted lists"):
        Searcher([path, path], [], "l2")


def test_nothing_is_set_on_an_opened_index(tmp_path: Path) -> None:
    path = written(index_of("IVF24,PQ4", "l2"), tmp_path)
    index = read_index(path)
    ListParts([index], "l2").search(queries_of("l2"), 20, 10, 9, 0, None)
    assert index.nprobe == 1


@given(st.integers(0, 2**32 - 1), st.sampled_from(["cosine", "dot", "l2", "l1"]), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_a_measured_value_depends_on_its_query_and_row_alone(seed: int, metric: str, parts: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = prepare(rng.normal(size=(60, 7)), metric)
    queries = prepare(rng.normal(size=(4, 7)), metric)
    rows = rng.integers(-1, 60, (4, 9))
    for kind in (np.float32, np.float16):
        typed = vectors.astype(kind)
        stored = StoredVectors(np.array_split(typed, parts))
        values = measure(queries, rows, stored, metric)
        for query, numbers, row_values in zip(queries, rows, values, strict=True):
            for row, value in zip(numbers, row_values, strict=True):
                alone = measure(query[None], np.array([[row]]), StoredVectors([typed]), metric)[0, 0]
                assert value == alone
                if row < 0:
                    assert value == (-np.inf if larger_is_nearer(metric) else np.inf)
    ordered, _ = nearest_first(rows, values, metric)
    assert [sorted(each.tolist()) for each in ordered] == [sorted(each.tolist()) for each in rows]
