from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import IntegrityError
from catalog.partition import partitions_of
from index_builder.catalog_index import CatalogIndex
from index_builder.evaluation.ground_truth import exact_neighbours
from index_builder.publishing.answers import ask, read_answers, same_queries, write_answers
from index_builder.publishing.soundness import count_repeated, imbalance, measure_soundness
from index_builder.searching.items import Items, write_items
from index_builder.searching.searcher import OperatingPoint
from index_builder.training.sample import VectorSample
from tests.index_builder.vectors import clustered
from tests.index_builder.versions import publish_version


def opened(root: Path, vectors: np.ndarray, factory: str = "IVF8,Flat") -> CatalogIndex:
    publish_version(root, vectors, "cosine", factory, {"nprobe": 8, "rerank": 0}, keep_vectors=False)
    return CatalogIndex.open(str(root), "shop")


def unit(vectors: np.ndarray) -> np.ndarray:
    """float32, of length 1."""
    prepared = vectors.astype(np.float32)
    faiss.normalize_L2(prepared)
    return prepared


def test_answers_are_what_the_index_gives_and_are_read_as_they_were_written(tmp_path: Path) -> None:
    vectors = clustered(300, 8)
    index = opened(tmp_path, vectors)
    rows = np.array([5, 17, 250, 99], np.int64)
    prepared = unit(vectors)
    queries = VectorSample(rows.astype(np.uint64), rows, prepared[rows])
    truth = exact_neighbours(queries.vectors, prepared, np.arange(300), "cosine")
    searcher, items = index._searcher, index.items()
    answers = ask(searcher, items, queries, truth, OperatingPoint(8, 0))
    assert answers.item_ids == sorted(items.item_id(int(row)) for row in rows)
    assert answers.recall.tolist() == [1.0] * 4
    assert answers.found_itself.all()
    for item_id, vector, found in zip(answers.item_ids, answers.vectors, answers.found, strict=True):
        near = np.argsort(-(prepared @ vector), kind="stable")
        wanted = [items.item_id(int(row)) for row in near if items.item_id(int(row)) != item_id][:10]
        assert found == wanted
    write_answers(tmp_path / "answers.arrow", answers)
    data = (tmp_path / "answers.arrow").read_bytes()
    again = read_answers(data, "answers.arrow")
    assert (again.item_ids, again.found) == (answers.item_ids, answers.found)
    assert np.array_equal(again.vectors, answers.vectors)
    assert list(same_queries(answers, again)) == [(place, place) for place in range(4)]
    with pytest.raises(IntegrityError, match=r"answers.arrow is damaged"):
        read_answers(data[:100], "answers.arrow")


def test_an_item_with_more_copies_than_places_need_not_be_among_them(tmp_path: Path) -> None:
    vectors = np.concatenate([np.tile(clustered(1, 8), (40, 1)), clustered(200, 8)])
    index = opened(tmp_path, vectors)
    prepared = unit(vectors)
    rows = np.arange(40)
    queries = VectorSample(rows.astype(np.uint64), rows, prepared[rows])
    truth = exact_neighbours(queries.vectors, prepared, np.arange(240), "cosine")
    answers = ask(index._searcher, index.items(), queries, truth, OperatingPoint(8, 0))
    assert answers.found_itself.all()
    assert measure_soundness(index._searcher, index.items(), answers).self_lookup == 1.0


def test_an_index_that_loses_items_is_seen_by_looking_them_up(tmp_path: Path) -> None:
    vectors = clustered(400, 8)
    index = opened(tmp_path, vectors)
    prepared = unit(vectors)
    rows = np.arange(0, 400, 4, dtype=np.int64)
    # Asked with the vectors of other items, as where row numbers are out of step.
    queries = VectorSample(rows.astype(np.uint64), rows, prepared[(rows + 200) % 400])
    truth = exact_neighbours(queries.vectors, prepared, np.arange(400), "cosine")
    answers = ask(index._searcher, index.items(), queries, truth, OperatingPoint(8, 0))
    soundness = measure_soundness(index._searcher, index.items(), answers)
    assert soundness.self_lookup < 0.5
    assert (soundness.items, soundness.indexed) == (400, 400)


def test_the_imbalance_is_the_one_that_faiss_computes_over_all_parts(tmp_path: Path) -> None:
    vectors = clustered(500, 8)
    publish_version(tmp_path, vectors, "cosine", "IVF16,Flat", {"nprobe": 4, "rerank": 0}, index_parts=3)
    publish_version(tmp_path, vectors, "cosine", "IVF16,Flat", {"nprobe": 4, "rerank": 0}, name="whole")
    whole = faiss.read_index(str(tmp_path / "whole" / "versions" / "v1" / "index.faiss"))
    sizes = CatalogIndex.open(str(tmp_path), "shop")._searcher.list_sizes()
    assert sizes.sum() == 500
    assert imbalance(sizes) == pytest.approx(whole.invlists.imbalance_factor(), rel=1e-5)
    assert imbalance(np.array([0, 0, 0, 12])) == 4.0
    assert imbalance(np.zeros(3, np.int64)) == 1.0


@given(st.lists(st.text(alphabet="abc\u00e9\U0001f600", min_size=1, max_size=3), min_size=1, max_size=60))
def test_repeated_ids_are_counted_whatever_the_partitions(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str]
) -> None:
    partitions = partitions_of(ids, 4).tolist()
    rows = sorted(zip(partitions, ids, strict=True), key=lambda pair: (pair[0], pair[1].encode()))
    offsets = np.searchsorted([partition for partition, _ in rows], np.arange(5))
    table = pa.table({"item_id": pa.array([item for _, item in rows], pa.string())})
    path = tmp_path_factory.mktemp("items") / "items.arrow"
    write_items(path, [table], offsets.astype(np.int64), None)
    assert count_repeated(Items([path])) == len(ids) - len(set(ids))


def test_repeated_ids_are_counted_across_the_edge_of_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index_builder.searching.items._ROWS", 2)
    table = pa.table({"item_id": ["a", "b", "b", "c", "c", "c"]})
    write_items(tmp_path / "items.arrow", [table], np.array([0, 6]), None)
    assert count_repeated(Items([tmp_path / "items.arrow"])) == 3
