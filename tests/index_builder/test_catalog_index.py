from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import storage
from catalog.errors import IntegrityError, UsageError
from index_builder.catalog_index import CatalogIndex, Match, OperatingPoint, merge_matches
from index_builder.consuming.locks import FileLock
from index_builder.searching import searcher as searcher_module
from tests.conftest import REPOSITORY
from tests.index_builder.at_once import wrong_at_once
from tests.index_builder.consuming.shops import upload
from tests.index_builder.vectors import clustered, exact_rows
from tests.index_builder.versions import publish_version

COUNT, DIMENSION, LISTS = 1_200, 12, 16
POINT = {"nprobe": 4, "rerank": 4}
EVERYTHING = OperatingPoint(LISTS, COUNT)
POINTS = [
    {"nprobe": nprobe, "rerank": 4, "recall": {"1": recall, "10": recall}}
    for nprobe, recall in ((1, 0.4), (2, 0.71), (4, 0.7), (8, 0.93))
]


@dataclass(frozen=True)
class Shop:
    """An opened version, and what is in it, row by row."""

    root: Path
    index: CatalogIndex
    vectors: np.ndarray
    rows: list[dict[str, Any]]
    metric: str


def make_shop(root: Path, metric: str = "cosine", factory: str = "IVF16,SQ8", **options: Any) -> Shop:
    vectors = clustered(COUNT, DIMENSION, seed=4)
    rows = publish_version(root, vectors, metric, factory, POINT, points=POINTS, **options)
    return Shop(root, CatalogIndex.open(str(root), "shop"), vectors, rows, metric)


@pytest.fixture(scope="module", params=["cosine", "l2"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("shop"), request.param)


def filters(rows: list[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    ids = st.lists(st.sampled_from([*(row["item_id"] for row in rows)]), min_size=1, max_size=300)
    return st.fixed_dictionaries(
        {},
        optional={
            "allow": ids,
            "block": ids,
            "where": st.fixed_dictionaries(
                {},
                optional={
                    "colour": st.lists(st.sampled_from(["red", "green", None]), min_size=1, max_size=2),
                    "stock": st.integers(0, 7),
                    "product_id": st.sampled_from(["p7", "p8", "p9999"]),
                },
            ),
        },
    )


def passes(row: dict[str, Any], allow: Any = None, block: Any = None, where: Any = None) -> bool:
    columns = {**row["metadata"], "product_id": row["product_id"]}
    return (
        (allow is None or row["item_id"] in allow)
        and row["item_id"] not in (block or [])
        and all(
            columns[name] in (value if isinstance(value, list) else [value]) for name, value in (where or {}).items()
        )
    )


@pytest.mark.parametrize("exact_rows_below", [0, 1 << 20])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_with_every_list_a_filtered_search_is_a_search_of_the_rows_that_pass(
    shop: Shop, exact_rows_below: int, data: st.DataObject
) -> None:
    options = data.draw(filters(shop.rows))
    k = data.draw(st.sampled_from([1, 10, 40]))
    queries = clustered(3, DIMENSION, seed=data.draw(st.integers(0, 99)))
    allowed = np.array([number for number, row in enumerate(shop.rows) if passes(row, **options)], np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searcher_module, "EXACT_ROWS", exact_rows_below)
        answers = shop.index.search(queries, k, EVERYTHING, **options)
    exact = allowed[exact_rows(queries, shop.vectors[allowed], shop.metric, k)] if len(allowed) else [[]] * 3
    for matches, right in zip(answers, exact, strict=True):
        assert [match.row for match in matches] == list(right)
        assert [match.item_id for match in matches] == [shop.rows[row]["item_id"] for row in right]
        assert [match.rank for match in matches] == list(range(1, len(right) + 1))


@pytest.mark.parametrize("keep_vectors", [True, False])
@pytest.mark.parametrize("factory", ["IVF16,PQ6x4fs", "PCAR8,IVF16_HNSW8,SQ8"])
def test_there_are_k_results_wherever_k_rows_pass(factory: str, keep_vectors: bool, tmp_path: Path) -> None:
    shop = make_shop(tmp_path, factory=factory, keep_vectors=keep_vectors)
    cheapest = OperatingPoint(1, 0)
    for where in ({"product_id": "p8"}, {"stock": 3, "colour": "red"}, {"colour": ["red", None]}):
        count = sum(passes(row, where=where) for row in shop.rows)
        for matches in shop.index.search(clustered(5, DIMENSION, seed=2), 30, cheapest, where=where):
            assert len(matches) == len({match.item_id for match in matches}) == min(30, count)
            assert all(passes(shop.rows[match.row], where=where) for match in matches)


def test_many_vectors_in_one_batch_are_answered_as_each_alone(shop: Shop) -> None:
    queries = clustered(300, DIMENSION, seed=6)
    batch = shop.index.search(queries, 5, EVERYTHING)
    assert batch == [shop.index.search(query, 5, EVERYTHING) for query in queries]
    assert shop.index.search(queries[:1], 5, EVERYTHING) == batch[:1]
    assert shop.index.search(queries[:0], 5) == []


def test_an_item_is_first_of_its_neighbours_unless_it_does_not_pass(shop: Shop) -> None:
    item_id = shop.rows[40]["item_id"]
    assert shop.index.search_item(item_id, 5)[0].item_id == item_id
    others = shop.index.search_item(item_id, 5, block=[item_id])
    assert item_id not in [match.item_id for match in others]
    assert [match.rank for match in others] == [1, 2, 3, 4, 5]
    colour = shop.rows[40]["metadata"]["colour"]
    assert shop.index.search_item(item_id, 5, where={"colour": colour})[0].item_id == item_id
    other = next(row["metadata"]["colour"] for row in shop.rows if row["metadata"]["colour"] != colour)
    found = shop.index.search_item(item_id, 5, where={"colour": other})
    assert len(found) == 5
    assert {match.metadata["colour"] for match in found} == {other}


def test_items_are_reached_by_row_and_by_id(shop: Shop) -> None:
    for number in (0, 17, COUNT - 1):
        row = shop.rows[number]
        assert shop.index.item(row["item_id"]) == shop.index.items().item(number) == row
    with pytest.raises(UsageError, match="version v1 has no item 'nosuch'"):
        shop.index.item("nosuch")
    assert shop.index.search(shop.vectors[5], 1, EVERYTHING)[0].image_uri == shop.rows[5]["image_uri"]
    assert any(row["image_uri"] is None for row in shop.rows)


def test_the_cheapest_point_that_reaches_a_recall_is_chosen(shop: Shop) -> None:
    assert shop.index.point_for(0.4) == OperatingPoint(1, 4)
    assert shop.index.point_for(0.7) == OperatingPoint(2, 4)
    assert shop.index.point_for(0.9) == OperatingPoint(8, 4, 0)
    with pytest.raises(UsageError, match=r"reaches no recall@10 of 0\.95; its best is 0\.93, at nprobe 8"):
        shop.index.point_for(0.95)


def test_an_operating_point_without_ef_search_is_read() -> None:
    assert OperatingPoint.from_json({"nprobe": 3, "rerank": 4}) == OperatingPoint(3, 4, 0)
    point = OperatingPoint(3, 4, 50)
    assert OperatingPoint.from_json(point.to_json()) == point


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros(DIMENSION), "the vector is all zeros"),
        (
            np.eye(3, DIMENSION)[[0, 1]] * np.array([[1.0], [np.nan]]),
            "vector 1 has a value that is not a finite number",
        ),
        (np.ones(5), r"the vector has shape \[5\], the index wants \[12\]"),
        (np.ones((2, 2, DIMENSION)), r"the vector has shape \[2, 2, 12\]"),
    ],
)
def test_vectors_that_cannot_be_asked_with_are_named(tmp_path: Path, vectors: np.ndarray, message: str) -> None:
    shop = make_shop(tmp_path)
    with pytest.raises(UsageError, match=message):
        shop.index.search(vectors)


@pytest.mark.parametrize("vector_type", ["float32", "float16"])
def test_a_version_in_parts_answers_as_one_in_whole_files(tmp_path: Path, vector_type: str) -> None:
    whole = make_shop(tmp_path / "whole", vector_type=vector_type)
    split = make_shop(tmp_path / "split", vector_type=vector_type, index_parts=3, shards=4)
    assert len(split.index.manifest.files_of("index")) == 3
    assert len(split.index.manifest.files_of("vectors")) == 4
    queries = clustered(50, DIMENSION, seed=5)
    for options in ({}, {"where": {"stock": [1, 2]}}, {"point": OperatingPoint(1, 0)}, {"point": EVERYTHING}):
        assert split.index.search(queries, 10, **options) == whole.index.search(queries, 10, **options)
    item_id = whole.rows[3]["item_id"]
    assert split.index.search_item(item_id) == whole.index.search_item(item_id)


def test_servers_that_share_the_parts_answer_together_as_one_server_does(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, index_parts=3)
    servers = [CatalogIndex.open(str(tmp_path), "shop", parts=parts) for parts in ([0, 2], [1])]
    queries = clustered(40, DIMENSION, seed=5)
    by_code = OperatingPoint(LISTS, 0)
    for options in ({}, {"where": {"colour": "red"}}, {"block": [row["item_id"] for row in shop.rows[:500]]}):
        for point in (by_code, EVERYTHING):
            whole = shop.index.search(queries, 10, point, **options)
            answers = [server.search(queries, 10, point, **options) for server in servers]
            assert [merge_matches(each, 10) for each in zip(*answers, strict=True)] == whole
    # With few lists a server whose lists are short goes on to more: together they are never farther off.
    whole = shop.index.search(queries, 10)
    answers = [server.search(queries, 10) for server in servers]
    for both, one in zip(zip(*answers, strict=True), whole, strict=True):
        merged = merge_matches(both, 10)
        assert all(mine.distance <= theirs.distance for mine, theirs in zip(merged, one, strict=True))


def test_a_server_reads_the_parts_it_opens_and_no_others(tmp_path: Path) -> None:
    make_shop(tmp_path, index_parts=3)
    (tmp_path / "shop/versions/v1/index.part-001.faiss").write_bytes(b"damaged")
    assert CatalogIndex.open(str(tmp_path), "shop", parts=[0, 2]).search(np.ones(DIMENSION), 3)
    for parts in (None, [1]):
        with pytest.raises(IntegrityError, match=r"index\.part-001\.faiss is damaged"):
            CatalogIndex.open(str(tmp_path), "shop", parts=parts)
    for parts, message in (([3], "has no part 3; its parts are 0 to 2"), ([], "no part of version v1 is named")):
        with pytest.raises(UsageError, match=message):
            CatalogIndex.open(str(tmp_path), "shop", parts=parts)


def test_the_answers_of_servers_are_merged_by_distance_and_an_item_counts_once() -> None:
    def match(row: int, distance: float) -> Match:
        return Match(1, f"i{row}", None, -distance, distance, None, {}, row)

    merged = merge_matches([[match(4, 0.1), match(2, 0.3)], [match(1, 0.3), match(4, 0.1)], []], 3)
    assert [(each.rank, each.row) for each in merged] == [(1, 4), (2, 1), (3, 2)]
    assert merge_matches([[match(4, 0.1)], [match(5, 0.2)]], 1) == [match(4, 0.1)]


def test_threads_that_search_with_filters_at_once_get_what_one_gets(shop: Shop) -> None:
    queries = clustered(8, DIMENSION, seed=7)
    questions: list[Callable[[CatalogIndex], Any]] = [
        lambda index: index.search(queries, 10),
        lambda index: index.search(queries[0], 10, where={"colour": "green"}),
        lambda index: index.search(queries, 5, OperatingPoint(1, 0), where={"stock": 2, "colour": ["red", "blue"]}),
        lambda index: index.search(queries[1], 10, EVERYTHING, block=[row["item_id"] for row in shop.rows[:9]]),
        lambda index: index.search_item(shop.rows[9]["item_id"], 10, where={"product_id": ["p1", "p2"]}),
        lambda index: index.search(queries[:3], 4, allow=[row["item_id"] for row in shop.rows[:99]]),
    ]
    alone = [question(shop.index) for question in questions]
    fresh = CatalogIndex.open(str(shop.root), "shop")  # Which has read no column yet.
    assert wrong_at_once(len(questions), lambda number: questions[number](fresh) == alone[number], turns=24) == []


def test_a_consumer_needs_neither_beam_nor_tensorflow(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, factory="IVF16,PQ6x4fs")
    code = f"""
import sys
import numpy as np
from index_builder.catalog_index import CatalogIndex, merge_matches
index = CatalogIndex.open({str(tmp_path)!r}, "shop")
found = index.search(np.ones((2, {DIMENSION})), 3, index.point_for(0.9), where={{"colour": "red"}})
assert [len(each) for each in found] == [3, 3]
merge_matches(found, 3), index.search_item({shop.rows[0]["item_id"]!r}), index.item({shop.rows[0]["item_id"]!r})
print(sorted(name for name in sys.modules if name.split(".")[0] in ("apache_beam", "tensorflow", "keras", "PIL")))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize("k", [-1, 0, 2.5, "3", None, True])
def test_a_k_that_is_no_number_of_results_is_named(shop: Shop, k: Any) -> None:
    said = f"^k is {re.escape(repr(k))}; expected how many results, a whole number from 1 on$"
    with pytest.raises(UsageError, match=said):
        shop.index.search(shop.vectors[0], k)
    with pytest.raises(UsageError, match=said):
        shop.index.search_item(shop.rows[0]["item_id"], k)


def test_a_k_of_numpy_is_a_number_and_one_beyond_the_version_gives_all_of_it(shop: Shop) -> None:
    assert shop.index.search(shop.vectors[0], np.int64(3)) == shop.index.search(shop.vectors[0], 3)
    assert len(shop.index.search(shop.vectors[0], 10 * COUNT, EVERYTHING)) == COUNT


def test_with_closes_an_index(tmp_path: Path) -> None:
    folder, url = tmp_path / "store", f"memory://{tmp_path.name}"
    made = make_shop(folder)
    upload(folder, url)
    with CatalogIndex.open(url, "shop", cache=tmp_path / "cache") as index:
        (held,) = (tmp_path / "cache").rglob("*.open")
        assert FileLock.take(held, exclusive=True, wait=False) is None
        assert index.search(made.vectors[0]) == made.index.search(made.vectors[0])
    lock = FileLock.take(held, exclusive=True, wait=False)
    assert lock is not None
    lock.release()
    storage.delete_tree(url)
