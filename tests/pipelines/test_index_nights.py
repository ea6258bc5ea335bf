"""Night after night: the codebook stays while it fits, only new files are encoded, and the manifest says why."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog import canonical_json
from catalog.errors import UsageError
from catalog.import_vectors import ImportConfig, import_vectors
from catalog.vector_source import VectorInput
from index_builder.catalog_index import CatalogIndex
from index_builder.planning.plan import plan_index
from index_builder.publishing.pins import all_pins
from index_builder.publishing.verdict import Thresholds
from index_builder.searching.searcher import OperatingPoint
from index_builder.stages import encoding
from index_builder.training.earlier import keep_lists
from pipelines.index import IndexConfig, index
from tests.index_builder.vectors import clustered, exact_rows

DIMENSION = 16


def night(root: Path, vectors: np.ndarray, ids: list[str], vendors: list[str] | None = None) -> str:
    """Makes tonight's vectors the newest snapshot of the store."""
    table = {"item_id": ids, "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSION)}
    if vendors:
        table["vendor"] = vendors
    pq.write_table(pa.table(table), root / "tonight.parquet")
    source = VectorInput((str(root / "tonight.parquet"),))
    import_vectors(ImportConfig(source, str(root / "e"), "cosine", partitions=8, may_lose=1.0))
    return str(root / "e")


def manifest_of(root: Path, version: str) -> dict:
    return json.loads((root / "a" / "shop" / "versions" / version / "manifest.json").read_text())


def names(count: int) -> list[str]:
    return [f"item-{number:05d}" for number in range(count)]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows that were encoded, block by block."""
    rows: list[int] = []
    real = encoding.encode_block
    monkeypatch.setattr(encoding, "encode_block", lambda book, block: rows.append(len(block)) or real(book, block))
    return rows


def test_a_night_like_the_last_keeps_the_codebook_and_encodes_only_new_files(
    tmp_path: Path, encoded: list[int]
) -> None:
    vectors = clustered(4_000, DIMENSION)
    config = IndexConfig(night(tmp_path, vectors, names(4_000)), str(tmp_path / "a"), "shop")
    first = index(config)
    assert sum(encoded) == 4_000
    encoded.clear()
    ids = names(4_000)
    gone = ids.pop(17)
    second = index(IndexConfig(night(tmp_path, np.delete(vectors, 17, axis=0), ids), str(tmp_path / "a"), "shop"))
    assert second.version != first.version
    assert 0 < sum(encoded) < 1_000  # One partition of eight.
    one, two = manifest_of(tmp_path, first.version), manifest_of(tmp_path, second.version)
    assert one["codebook"] == two["codebook"]
    assert (one["training"]["decision"], two["training"]["decision"]) == ("trained", "kept")
    assert one["training"]["reasons"] == ["no codebook of this encoder and plan is there to keep"]
    assert (two["training"]["reasons"], two["training"]["since"]) == ([], first.version)
    assert two["training"]["fit_now"]["held_out"] > 500
    assert two["training"]["recall_when_trained"] == one["training"]["best_recall"] >= first.recall["10"]
    opened = CatalogIndex.open(str(tmp_path / "a"), "shop")
    with pytest.raises(UsageError, match=f"has no item '{gone}'"):
        opened.vector_of(gone)
    everything = OperatingPoint(nprobe=1 << 20, rerank=200)
    left = np.delete(vectors, 17, axis=0)
    for row in (0, 17, 3_000):
        found = [match.item_id for match in opened.search(left[row], 5, everything)]
        assert found == [ids[each] for each in exact_rows(left[[row]], left, "cosine", 5)[0]]
    # The night after, nothing changed: the same version, for last night's own codebook is not what it began with.
    assert index(config).version == second.version


def test_a_catalog_that_drifted_is_trained_on_anew_and_the_manifest_says_why(tmp_path: Path) -> None:
    store = night(tmp_path, clustered(3_000, DIMENSION), names(3_000))
    first = index(IndexConfig(store, str(tmp_path / "a"), "shop"))
    night(tmp_path, clustered(3_000, DIMENSION, seed=5), names(3_000))
    second = index(IndexConfig(store, str(tmp_path / "a"), "shop"))
    one, two = manifest_of(tmp_path, first.version), manifest_of(tmp_path, second.version)
    assert one["codebook"] != two["codebook"]
    assert two["training"]["decision"] == "trained"
    assert any("coarse distance" in reason and "is above" in reason for reason in two["training"]["reasons"])
    assert two["training"]["recall_when_trained"] == two["training"]["best_recall"]


def test_retrain_trains_although_the_codebook_fits(tmp_path: Path) -> None:
    store = night(tmp_path, clustered(3_000, DIMENSION), names(3_000))
    index(IndexConfig(store, str(tmp_path / "a"), "shop"))
    night(tmp_path, clustered(3_001, DIMENSION), names(3_001))
    summary = index(IndexConfig(store, str(tmp_path / "a"), "shop", retrain=True))
    assert manifest_of(tmp_path, summary.version)["training"]["decision"] == "trained"


def test_the_number_of_lists_stays_while_the_catalog_grows_a_little(tmp_path: Path) -> None:
    store = night(tmp_path, clustered(3_000, DIMENSION), names(3_000))
    first = index(IndexConfig(store, str(tmp_path / "a"), "shop"))
    opened = CatalogIndex.open(str(tmp_path / "a"), "shop", version=first.version).manifest
    lists = opened.index["lists"]
    grown = plan_index(6_000, DIMENSION, "cosine")
    assert grown.lists == 2 * lists
    kept = keep_lists(grown, opened, 6_000)
    assert (kept.lists, kept.factory) == (lists, grown.factory.replace(f"IVF{grown.lists}", f"IVF{lists}"))
    tenfold = plan_index(300_000, DIMENSION, "cosine")
    assert keep_lists(tenfold, opened, 300_000) == tenfold


def test_parts_share_the_lists_and_answer_as_one_index_does(tmp_path: Path) -> None:
    vectors = clustered(3_000, DIMENSION)
    store = night(tmp_path, vectors, names(3_000))
    whole = index(IndexConfig(store, str(tmp_path / "a"), "shop", rerank="none"))
    parts = index(IndexConfig(store, str(tmp_path / "a"), "parts", rerank="none", parts=3))
    folder = tmp_path / "a" / "parts" / "versions" / parts.version
    files = sorted(path.name for path in folder.glob("index*"))
    assert files == ["index.part-000.faiss", "index.part-001.faiss", "index.part-002.faiss"]
    sizes = [faiss.read_index(str(folder / name)).ntotal for name in files]
    assert sum(sizes) == 3_000
    assert min(sizes) > 500
    one, three = (CatalogIndex.open(str(tmp_path / "a"), name) for name in ("shop", "parts"))
    for point in (OperatingPoint(1, 0), OperatingPoint(4, 0)):
        for row in range(0, 3_000, 300):
            assert one.search(vectors[row], 7, point) == three.search(vectors[row], 7, point)
    assert parts.recall == whole.recall


def test_a_stratified_sample_takes_a_rare_vendor_in_and_an_unknown_column_is_named(tmp_path: Path) -> None:
    vectors = clustered(3_000, DIMENSION)
    vendors = ["rare" if number % 100 == 0 else "often" for number in range(3_000)]
    store = night(tmp_path, vectors, names(3_000), vendors)
    summary = index(IndexConfig(store, str(tmp_path / "a"), "shop", stratify="vendor"))
    training = manifest_of(tmp_path, summary.version)["training"]
    assert training["stratify"] == "vendor"
    with pytest.raises(UsageError, match=r"--stratify color: the metadata of .* has no such column; its columns are"):
        index(IndexConfig(store, str(tmp_path / "a"), "shop", stratify="color"))


def test_recall_is_given_by_vendor_and_the_target_chooses_the_default_point(tmp_path: Path) -> None:
    vendors = ["north" if number % 2 else "south" for number in range(3_000)]
    store = night(tmp_path, clustered(3_000, DIMENSION), names(3_000), vendors)
    summary = index(IndexConfig(store, str(tmp_path / "a"), "shop", recall_target=0.5))
    folder = tmp_path / "a" / "shop" / "versions" / summary.version
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert {(each["column"], each["value"]) for each in evaluation["slices"]} == {
        ("vendor", "north"),
        ("vendor", "south"),
    }
    assert evaluation["target_met"] is True
    cheaper = [each for each in evaluation["points"] if each["recall"]["10"] < 0.5]
    assert evaluation["default"]["nprobe"] <= min(
        (each["nprobe"] for each in evaluation["points"] if each not in cheaper), default=0
    )


@pytest.mark.parametrize("older", ["a builder that trains otherwise", "a format without checksums"])
def test_a_codebook_of_an_older_builder_is_not_kept(tmp_path: Path, older: str) -> None:
    config = IndexConfig(night(tmp_path, clustered(3_000, DIMENSION), names(3_000)), str(tmp_path / "a"), "shop")
    first = manifest_of(tmp_path, index(config).version)
    path = tmp_path / "a" / "shop" / "codebooks" / first["codebook"] / "codebook.json"
    value = json.loads(path.read_text())
    del value["sha256"]
    if "format" in older:
        value["schema_version"] = 2
    else:
        value["builder_version"] -= 1
    path.write_bytes(canonical_json.dump({**value, "sha256": canonical_json.digest(value)}))
    night(tmp_path, clustered(3_001, DIMENSION), names(3_001))
    second = manifest_of(tmp_path, index(config).version)
    assert second["training"]["decision"] == "trained"
    assert second["training"]["reasons"] == ["no codebook of this encoder and plan is there to keep"]
    assert second["codebook"] != first["codebook"]


def test_the_same_command_is_the_same_version_also_when_the_version_before_was_collected(tmp_path: Path) -> None:
    vectors = clustered(4_000, DIMENSION)
    lenient = Thresholds(overlap=0.1, recall_drop=0.5)
    first = index(IndexConfig(night(tmp_path, vectors, names(4_000)), str(tmp_path / "a"), "shop"))
    config = IndexConfig(
        night(tmp_path, vectors[10:], names(4_000)[10:]), str(tmp_path / "a"), "shop", thresholds=lenient
    )
    second = index(config)
    assert manifest_of(tmp_path, second.version)["earlier"] == first.version
    shutil.rmtree(tmp_path / "a" / "shop" / "versions" / first.version)
    assert index(config).version == second.version
    # Other settings are another version, of which nothing was built before.
    assert index(replace(config, queries=500)).version != second.version


def test_another_factory_of_the_same_snapshot_is_another_version(tmp_path: Path) -> None:
    store = night(tmp_path, clustered(3_000, DIMENSION), names(3_000))
    config = IndexConfig(store, str(tmp_path / "a"), "shop", factory="IVF16,SQ8")
    first = index(config)
    second = index(replace(config, factory="IVF32,SQ8"))
    assert (first.index, second.index) == ("IVF16,SQ8", "IVF32,SQ8")
    assert first.version != second.version
    assert index(config).version == first.version


def test_what_is_to_be_pinned_is_pinned_where_it_was_built_before(tmp_path: Path) -> None:
    config = IndexConfig(night(tmp_path, clustered(400, DIMENSION), names(400)), str(tmp_path / "a"), "shop")
    built = index(config)
    said: list[str] = []
    index(replace(config, pins=("the audit",), labels={"season": "summer"}), said.append)
    root = str(tmp_path / "a" / "shop")
    assert all_pins(root)[built.version].reasons == ["the audit"]
    assert any("keeps the labels that it was given then" in line for line in said)
