"""What dedupe is given: too little, all the same, nothing alike, or what is wrong, which is said in one sentence."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog.errors import UsageError
from catalog.import_vectors import ImportConfig, import_vectors
from catalog.vector_source import VectorInput
from dedupe.settings import Settings
from tests.index_builder.vectors import clustered
from tests.pipelines.dedupe_jobs import deduped, planned, run_stages
from tests.pipelines.dedupe_stores import Row, draw_pictures, draw_rows, write_store


def some_rows(items: int, seed: int = 5) -> list[Row]:
    rng = np.random.default_rng(seed)
    return draw_rows(rng, draw_pictures(rng, 4), items)


def different(items: int) -> list[Row]:
    """Items of one scene each."""
    rng = np.random.default_rng(3)
    pictures = [draw_pictures(rng, 1)[0] for _ in range(items)]
    rows = [draw_rows(rng, [picture], 1, f"item-{number:03d}")[0] for number, picture in enumerate(pictures)]
    hashes = [hashlib.sha256(row["item_id"].encode()).digest() for row in rows]
    return [{**row, "pixel_hash": each[:16], "content_hash": each} for row, each in zip(rows, hashes, strict=True)]


def test_one_item_is_kept(tmp_path: Path) -> None:
    store = write_store(tmp_path / "e", different(1))
    report = deduped({"": store}, tmp_path / "r", Settings())
    assert (report.summary["items"], report.summary["kept"], len(report.keep), report.pairs) == (1, 1, 1, [])


def test_of_items_that_are_all_the_same_one_is_kept(tmp_path: Path) -> None:
    rows = [{**different(1)[0], "item_id": f"item-{number:03d}", "product_id": "p"} for number in range(40)]
    report = deduped({"": write_store(tmp_path / "e", rows)}, tmp_path / "r", Settings(), stretch_rows=10)
    assert [line["item_id"] for line in report.keep] == ["item-000"]
    assert (report.summary["groups"], report.summary["by_tier"]["bytes"], len(report.pairs)) == (1, 39, 39)


def test_items_that_are_all_different_are_all_kept(tmp_path: Path) -> None:
    store = write_store(tmp_path / "e", different(30))
    report = deduped({"": store}, tmp_path / "r", Settings(threshold=0.99, thumbnail_threshold=0.99))
    assert (report.summary["kept"], report.summary["groups"], report.drop, report.groups) == (30, 0, [], [])
    assert {line["reason"] for line in report.keep} == {"unique"}


def test_vectors_without_pictures_are_compared_by_themselves(tmp_path: Path) -> None:
    vectors = clustered(300, 16)
    vectors[200:] = vectors[:100]
    np.save(tmp_path / "vectors.npy", vectors)
    import_vectors(ImportConfig(VectorInput((str(tmp_path / "vectors.npy"),)), str(tmp_path / "e"), "cosine"))
    report = deduped({"": str(tmp_path / "e")}, tmp_path / "r", Settings(threshold=0.999))
    assert report.summary["by_tier"]["embedding"] == report.summary["dropped"] >= 100
    assert {row["thumbnail"] for row in report.groups} == {None}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(group_column="vendor"), "--group-column vendor: "),
        (Settings(label_column="vendor"), "--label-column vendor: "),
        (Settings(keeper="vendor=acme,bytes"), "--keeper: "),
        (Settings(protected_values=(("vendor", ("acme",)),)), "--protect vendor=…: "),
    ],
)
def test_a_column_that_is_nowhere_is_refused_before_the_work(tmp_path: Path, settings: Settings, said: str) -> None:
    store = write_store(tmp_path / "e", some_rows(20))
    with pytest.raises(UsageError) as refused:
        planned({"": store}, tmp_path / "r", settings)
    assert str(refused.value).startswith(said)
    assert "has no column 'vendor'; its columns are: " in str(refused.value)
    assert "split" in str(refused.value)
    assert not (tmp_path / "r").exists()


def test_a_column_that_some_files_do_not_have_is_empty_there(tmp_path: Path) -> None:
    rows = some_rows(60)
    store = write_store(tmp_path / "e", rows, bare=frozenset((0, 1)))
    settings = Settings(group_column="split", label_column="label", keeper="made:desc")
    report = deduped({"": store}, tmp_path / "r", settings)
    assert 0 < sum(report.summary["leakage"]["items"]) < sum(row["split"] is not None for row in rows)


def test_more_groups_than_a_matrix_holds_end_the_job_before_pairs_are_looked_for(tmp_path: Path) -> None:
    rows = [{**row, "split": f"vendor {number}"} for number, row in enumerate(some_rows(1_200))]
    layout = planned({"": write_store(tmp_path / "e", rows)}, tmp_path / "r", Settings(group_column="split"))
    with pytest.raises(UsageError, match=r"--group-column split has 1,\d\d\d values; .* at most 1,000"):
        run_stages(layout)
    assert {path.name for path in (tmp_path / "r").iterdir()} <= {"work", "state"}


def test_what_there_is_nothing_to_compare_in_is_refused(tmp_path: Path) -> None:
    empty = write_store(tmp_path / "empty", [])
    (tmp_path / "new").mkdir()
    store = write_store(tmp_path / "e", some_rows(5))
    other = write_store(tmp_path / "other", some_rows(5), fingerprint="0")
    refused: list[tuple[dict[str, str], dict[str, Any], str]] = [
        ({"": empty}, {}, "has no items; there is nothing to compare"),
        ({"": str(tmp_path / "new")}, {}, "has no snapshot; run catalog-indexer embed first"),
        ({"": store}, {"snapshot": 7}, "has no snapshot 7; it has: 1"),
        ({"a": store, "b": other}, {}, "vectors are of different encoders (a: test, b: test)"),
    ]
    for stores, more, said in refused:
        with pytest.raises(UsageError) as error:
            planned(stores, tmp_path / "r", Settings(), **more)
        assert said in str(error.value)
    with pytest.raises(UsageError, match=r"--output .*/e is an embedding store; name a folder of its own"):
        planned({"": store}, store, Settings())
    assert not (tmp_path / "r").exists()


def test_a_picture_of_many_products_counts_them_all(tmp_path: Path) -> None:
    """More than are looked at by default."""
    picture = different(1)[0]
    rows = [{**picture, "item_id": f"item-{number:03d}", "product_id": f"p{number}"} for number in range(100)]
    store = write_store(tmp_path / "e", rows)
    for most, placeholders in ((99, 100), (100, 0)):
        settings = replace(Settings(), placeholder_products=most)
        report = deduped({"": store}, tmp_path / f"r{most}", settings)
        assert report.summary["placeholder_items"] == placeholders
