from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pytest

from catalog.embedding_file import EmbeddingFileWriter, schema, vector_array
from catalog.encoder_info import EncoderInfo
from catalog.errors import IntegrityError, MissingExtraError, UsageError
from catalog.partition import partitions_of
from catalog.snapshot import Counts, FileEntry, Snapshot, write_snapshot
from catalog.source import CatalogSource
from index_builder.catalog_index import CatalogIndex
from index_builder.evaluation.evaluation_files import TIMED_FILES
from index_builder.evaluation.golden import check_golden, read_golden
from index_builder.publishing.verdict import GATES, Thresholds
from index_builder.searching.searcher import OperatingPoint
from index_builder.stages import encoding, training
from pipelines import index as module
from pipelines import index_steps
from pipelines.embed import EmbedConfig, embed
from pipelines.index import IndexConfig, IndexSummary, index, run_index
from tests.catalog.test_manifest import valid
from tests.conftest import Catalog, files_below
from tests.index_builder.vectors import clustered, exact_rows

DIMENSION, PARTITIONS = 32, 4


def make_store(root: Path, vectors: np.ndarray, removed: int = 0, metric: str = "cosine") -> str:
    """An embedding store with two files a partition, whose last `removed` items no longer count."""
    import pyarrow as pa

    ids = [f"item-{number:05d}" for number in range(len(vectors))]
    partition = partitions_of(ids, PARTITIONS)
    gone, entries = set(ids[len(ids) - removed :]) if removed else set(), []
    file_schema = schema(DIMENSION, "float32", pa.schema([("n", pa.int64())]))
    for each in range(PARTITIONS):
        rows = np.flatnonzero(partition == each)
        for half in (rows[::2], rows[1::2]):
            writer = EmbeddingFileWriter(root / "scratch", file_schema, "f")
            count = len(half)
            writer.append(
                pa.table(
                    {
                        "item_id": [ids[row] for row in half],
                        "product_id": [f"p{row}" for row in half],
                        "embedding": vector_array(vectors[half], "float32"),
                        "content_hash": pa.array([hashlib.sha256(b"").digest()] * count, pa.binary(32)),
                        "phash": pa.array([0] * count, pa.uint64()),
                        "thumbnail": pa.array([bytes(192)] * count, pa.binary(192)),
                        "width": [1] * count,
                        "height": [1] * count,
                        "image_uri": [f"/{row}.jpg" for row in half],
                        "source_version": ["v"] * count,
                        "metadata": [{"n": int(row)} for row in half],
                    }
                )
            )
            file = writer.store(str(root), f"files/{each:05d}")
            ids_removed = tuple(sorted(gone & {ids[row] for row in half}))
            entries.append(FileEntry(each, file.path, file.sha256, file.bytes, file.rows, ids_removed))
    encoder = EncoderInfo("test", "test", DIMENSION, (8, 8), metric, metric == "cosine", "f" * 64)
    live = len(vectors) - removed
    counts = Counts(live, live, 0, 0)
    write_snapshot(str(root), Snapshot(1, None, 1, "r", encoder, "float32", PARTITIONS, counts, tuple(entries)))
    return str(root)


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Which no test changes."""
    return make_store(tmp_path_factory.mktemp("embeddings"), clustered(3_000, DIMENSION), removed=300)


@pytest.fixture
def store(embeddings: str, tmp_path: Path) -> str:
    """A copy of the embeddings, for a test of its own."""
    return str(shutil.copytree(embeddings, tmp_path / "embeddings"))


@pytest.fixture(scope="module")
def indexed(embeddings: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, IndexSummary]:
    """Artifacts with the embeddings indexed as they are when nothing is asked for. No test changes them."""
    folder = tmp_path_factory.mktemp("indexed")
    return folder, index(IndexConfig(embeddings, str(folder), "shop"))


@pytest.fixture
def published(indexed: tuple[Path, IndexSummary], tmp_path: Path) -> IndexSummary:
    """What was published, in a copy of the artifacts below `a`."""
    folder, summary = indexed
    shutil.copytree(folder, tmp_path / "a")
    return summary


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_the_published_index_finds_what_exact_search_finds(store: str, tmp_path: Path, metric: str) -> None:
    summary = index(IndexConfig(store, str(tmp_path / "a"), "shop", metric=metric))
    assert (summary.vectors, summary.dimension, summary.metric) == (2_700, DIMENSION, metric)
    assert summary.index.startswith("OPQ")
    opened = CatalogIndex.open(str(tmp_path / "a"), "shop")
    vectors = clustered(3_000, DIMENSION)[:2_700]
    everything = OperatingPoint(nprobe=1 << 20, rerank=200)
    queries = clustered(20, DIMENSION, seed=9)
    for query, exact in zip(queries, exact_rows(queries, vectors, metric, 10), strict=True):
        matches = opened.search(query, 10, everything)
        assert [match.metadata["n"] for match in matches] == exact.tolist()
        assert [match.item_id for match in matches] == [f"item-{row:05d}" for row in exact]
        assert [match.product_id for match in matches] == [f"p{row}" for row in exact]


def test_the_recall_that_is_published_is_the_recall_that_a_caller_gets(store: str, tmp_path: Path) -> None:
    summary = index(IndexConfig(store, str(tmp_path / "a"), "shop", rerank="none"))
    opened = CatalogIndex.open(str(tmp_path / "a"), "shop")
    vectors = clustered(3_000, DIMENSION)[:2_700]
    rows = np.arange(0, 2_700, 3)
    shares = []
    for row, exact in zip(rows, exact_rows(vectors[rows], vectors, "cosine", 11), strict=True):
        found = [match.metadata["n"] for match in opened.search(vectors[row], 11) if match.metadata["n"] != row][:10]
        shares.append(len(set(found) & (set(exact.tolist()) - {row})) / 10)
    assert 0.3 < summary.recall["10"] < 0.99  # Codes alone: worth measuring.
    assert abs(np.mean(shares) - summary.recall["10"]) < 0.03


def test_an_item_finds_itself_first_with_cosine_one(published: IndexSummary, tmp_path: Path) -> None:
    opened = CatalogIndex.open(str(tmp_path / "a"), "shop")
    for number in range(0, 2_700, 90):
        match = opened.search(opened.vector_of(f"item-{number:05d}"), 1)[0]
        assert match.item_id == f"item-{number:05d}"
        assert match.score == pytest.approx(1, abs=1e-3)
    with pytest.raises(UsageError, match="has no item 'item-02999'"):
        opened.vector_of("item-02999")


def test_the_same_snapshot_gives_the_same_version_and_the_same_bytes_for_any_workers(
    published: IndexSummary, embeddings: str, tmp_path: Path
) -> None:
    flags = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    two = index(IndexConfig(embeddings, str(tmp_path / "two"), "shop", beam_arguments=flags))
    assert published.version == two.version
    first, second = (files_below(tmp_path / name / "shop" / "versions") for name in ("a", "two"))
    for name in first:
        if not name.endswith(("manifest.json", *TIMED_FILES)):  # Which have the time in them.
            assert first[name] == second[name], name
    assert first.keys() == second.keys()


def test_the_same_command_again_builds_nothing(
    published: IndexSummary, embeddings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_below(tmp_path / "a")
    monkeypatch.setattr(module, "build", None)
    second = index(IndexConfig(embeddings, str(tmp_path / "a"), "shop"))
    assert (second.version, second.recall, second.bytes) == (published.version, published.recall, published.bytes)
    assert files_below(tmp_path / "a") == before
    index(IndexConfig(embeddings, str(tmp_path / "a"), "shop", channel="canary"))
    added = files_below(tmp_path / "a").keys() - before.keys()
    assert added == {"shop/channels/canary.json"}


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), MissingExtraError("faiss is not installed")],
    ids=["disk", "extra"],
)
def test_a_build_that_died_goes_on_from_its_codebook_and_codes(
    published: IndexSummary, embeddings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def die(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(index_steps, "write_index_part", die)
    with pytest.raises(Exception, match=re.escape(str(error))):
        index(IndexConfig(embeddings, str(tmp_path / "two"), "shop"))
    assert not (tmp_path / "two" / "shop" / "channels").exists()
    assert list((tmp_path / "two" / "shop" / "work").rglob("*.run"))  # To go on from.
    monkeypatch.undo()
    monkeypatch.setattr(training, "train_codebook", die)
    monkeypatch.setattr(encoding, "encode_block", die)
    resumed = index(IndexConfig(embeddings, str(tmp_path / "two"), "shop"))
    assert resumed.version == published.version
    for name in ("index.faiss", "items.arrow", "vectors.npy", "evaluation.json", "golden.npz"):
        path = Path("shop") / "versions" / resumed.version / name
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_what_was_timed_first_counts_when_a_version_is_built_twice(
    published: IndexSummary, embeddings: str, tmp_path: Path
) -> None:
    root = tmp_path / "a" / "shop"
    folder = root / "versions" / published.version
    before = {name: (folder / name).read_bytes() for name in TIMED_FILES}
    (folder / "manifest.json").unlink()  # As if the first builder had died before its last step.
    shutil.rmtree(root / "log")
    shutil.rmtree(root / "channels")
    index(IndexConfig(embeddings, str(tmp_path / "a"), "shop"))
    assert {name: (folder / name).read_bytes() for name in TIMED_FILES} == before
    assert CatalogIndex.open(str(tmp_path / "a"), "shop").manifest.file("timings") is not None


def test_a_published_version_answers_its_golden_queries_at_its_default_point(
    published: IndexSummary, tmp_path: Path
) -> None:
    folder = tmp_path / "a" / "shop" / "versions" / published.version
    opened = CatalogIndex.open(str(tmp_path / "a"), "shop")
    golden = read_golden(folder / "golden.npz")
    assert golden.point == opened.default
    assert check_golden(opened._searcher, golden) == []
    assert opened.check() == []
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert (evaluation["recall"], evaluation["default"]) == (published.recall, opened.default.to_json())
    roles = {entry.role for entry in opened.manifest.files}
    assert roles == {"index", "items", "vectors", "evaluation", "timings", "plot", "golden", "answers", "source"}


def test_what_a_builder_left_that_died_after_publishing_is_cleared_away(
    published: IndexSummary, embeddings: str, tmp_path: Path
) -> None:
    left = tmp_path / "a" / "shop" / "work" / published.version / "runs"
    left.mkdir(parents=True)
    (left / "000000-000004.run").write_bytes(b"")
    index(IndexConfig(embeddings, str(tmp_path / "a"), "shop"))
    assert not (tmp_path / "a" / "shop" / "work" / published.version).exists()


def test_a_codebook_that_the_vectors_are_too_few_for_is_answered(tmp_path: Path) -> None:
    root = tmp_path / "embeddings"
    root.mkdir()
    store = make_store(root, clustered(300, DIMENSION))
    with pytest.raises(
        UsageError, match=r"learns 256 centroids, and only \d+ vectors of the snapshot can be trained on"
    ):
        index(IndexConfig(store, str(tmp_path / "a"), "shop", factory="IVF4,PQ8"))


def test_few_vectors_make_a_flat_index_and_l1_is_exact(tmp_path: Path) -> None:
    root = tmp_path / "embeddings"
    root.mkdir()
    store = make_store(root, clustered(200, DIMENSION), metric="l1")
    lines: list[str] = []
    summary = index(IndexConfig(store, str(tmp_path / "a"), "shop", metric="l2"), lines.append)
    assert summary.index == "Flat"
    assert summary.recall == {"1": 1.0, "10": 1.0, "100": 1.0}
    assert any("200 vectors are too few to train IVF-PQ on" in line for line in lines)
    summary = index(IndexConfig(store, str(tmp_path / "a"), "city"))
    assert summary.metric == "l1"
    opened = CatalogIndex.open(str(tmp_path / "a"), "city")
    vectors = clustered(200, DIMENSION)
    expected = exact_rows(vectors[:5], vectors, "l1", 4)
    for row in range(5):
        assert [match.metadata["n"] for match in opened.search(opened.vector_of(f"item-{row:05d}"), 4)] == expected[
            row
        ].tolist()


def test_any_faiss_opens_the_index_file_and_its_ids_are_the_rows_of_the_items(
    published: IndexSummary, tmp_path: Path
) -> None:
    folder = tmp_path / "a" / "shop" / "versions" / published.version
    plain = faiss.read_index(str(folder / "index.faiss"))
    faiss.extract_index_ivf(plain).nprobe = 64
    opened = CatalogIndex.open(str(tmp_path / "a"), "shop")
    vectors = np.load(folder / "vectors.npy")
    hits = plain.search(vectors[:200], 1)[1][:, 0]
    assert np.mean(hits == np.arange(200)) > 0.9
    assert opened.items().item_id(5) == opened.search(vectors[5], 1)[0].item_id


def test_the_manifest_names_every_file_and_what_it_was_made_of(
    published: IndexSummary, embeddings: str, tmp_path: Path
) -> None:
    folder = tmp_path / "a" / "shop" / "versions" / published.version
    manifest = json.loads((folder / "manifest.json").read_text())
    named = {entry["path"]: entry["sha256"] for entry in manifest["files"]}
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert there.pop("manifest.json")
    assert named == there
    stored = sorted(Path(embeddings).glob("files/*/*.parquet"))
    assert manifest["source"] == {
        "store": embeddings,
        "snapshot": 1,
        "lineage": 1,
        "sha256": there["source.json"],
        "files": len(stored),
        "bytes": sum(path.stat().st_size for path in stored),
        "counts": {
            "embedded": 2700,
            "rejected": 0,
            "rejects_by_reason": {},
            "removed": 0,
            "reused": 0,
            "rows": 2700,
            "stale": 0,
        },
    }
    assert manifest["encoder"]["fingerprint"] == "f" * 64
    assert set(manifest["seconds_by_stage"]) == {"sample", "train", "encode", "merge", "assemble", "evaluate", "gates"}
    source = json.loads((folder / "source.json").read_text())
    hashes = {entry["sha256"] for entry in source["files"]}
    assert hashes == {hashlib.sha256(path.read_bytes()).hexdigest() for path in stored}
    assert manifest["counts"] == {
        "input": 2700,
        "embedded": 2700,
        "reused": 0,
        "rejected": 0,
        "removed": 0,
        "indexed": 2700,
    }
    assert manifest["parent"] is None
    assert [verdict["gate"] for verdict in manifest["gates"]] == list(GATES)
    assert manifest["serving"]["load_flags"] == ["IO_FLAG_MMAP", "IO_FLAG_READ_ONLY"]
    assert manifest["serving"]["memory_bytes"] > (folder / "index.faiss").stat().st_size
    assert len(manifest["training"]["sample_sha256"]) == 64
    assert manifest["libraries"]["simd"] != "unknown"
    valid(manifest, "manifest.v2")
    valid(json.loads((folder.parents[1] / "channels" / "prod.json").read_text()), "channel.v2")


def test_what_cannot_be_indexed_is_answered(tmp_path: Path, store: str) -> None:
    with pytest.raises(UsageError, match="has no snapshot; run catalog-indexer embed first"):
        index(IndexConfig(str(tmp_path / "none"), str(tmp_path / "a"), "shop"))
    with pytest.raises(UsageError, match="has no snapshot 9; it has: 1"):
        index(IndexConfig(store, str(tmp_path / "a"), "shop", snapshot=9))
    with pytest.raises(UsageError, match="--metric angular is unknown; expected one of cosine, dot, l2, l1"):
        index(IndexConfig(store, str(tmp_path / "a"), "shop", metric="angular"))
    assert not (tmp_path / "a").exists()


def test_a_version_that_was_damaged_is_not_pointed_to_again(
    published: IndexSummary, embeddings: str, tmp_path: Path
) -> None:
    path = tmp_path / "a" / "shop" / "versions" / published.version / "index.faiss"
    whole = path.read_bytes()
    path.unlink()
    promotion = run_index(IndexConfig(embeddings, str(tmp_path / "a"), "shop", channel="canary"))[1]
    assert not promotion.moved
    assert f"{path} is missing" in promotion.refused[0].says
    assert not (tmp_path / "a" / "shop" / "channels" / "canary.json").exists()
    path.write_bytes(whole)
    index(IndexConfig(embeddings, str(tmp_path / "a"), "shop", channel="canary"))


def test_a_flipped_byte_in_an_embedding_file_stops_the_build(store: str, tmp_path: Path) -> None:
    path = max(Path(store).rglob("*.parquet"), key=lambda path: path.stat().st_size)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(bytes(whole))
    with pytest.raises(IntegrityError, match=f"{path} is damaged"):
        index(IndexConfig(store, str(tmp_path / "a"), "shop"))
    assert not (tmp_path / "a" / "shop" / "channels").exists()


@pytest.mark.parametrize("name", ["..", "../up", "", "a/b", ".hidden"])
def test_names_stay_inside_the_artifact_store(store: str, tmp_path: Path, name: str) -> None:
    for config in (
        IndexConfig(store, str(tmp_path / "a"), name),
        IndexConfig(store, str(tmp_path / "a"), "shop", channel=name),
    ):
        with pytest.raises(UsageError, match=r"is no name: expected letters, digits"):
            index(config)
    assert not (tmp_path / "a").exists()


def test_an_item_comes_first_among_its_exact_copies_and_all_of_k_come(tmp_path: Path) -> None:
    root = tmp_path / "embeddings"
    root.mkdir()
    same = np.repeat(clustered(1, DIMENSION), 2_500, axis=0)
    # All in one list, which a gate would not let pass.
    lenient = Thresholds(list_imbalance=1_000)
    index(IndexConfig(make_store(root, same), str(tmp_path / "a"), "shop", thresholds=lenient))
    opened = CatalogIndex.open(str(tmp_path / "a"), "shop")
    for number in (0, 8, 2_499):
        matches = opened.search_item(f"item-{number:05d}", 20)
        assert matches[0].item_id == f"item-{number:05d}"
        assert len({match.item_id for match in matches}) == 20
        assert all(0 <= match.distance < 1e-3 for match in matches)
    assert len(opened.search(same[0], 10)) == 10


def test_nights_that_change_the_type_of_a_column_still_make_one_index(
    make_catalog: Callable[..., Catalog], tmp_path: Path
) -> None:
    catalog = make_catalog(30)
    lines, store, artifacts = catalog.lines, str(tmp_path / "e"), str(tmp_path / "a")
    prices: list[dict[int, str]] = [{}, {3: "5"}, {3: "5", 4: "6.5"}, {3: "5", 4: "cheap"}]
    for night in prices:
        cells = [line.split(",") for line in lines]
        catalog.rewrite([",".join([*c[:3], night.get(number, ""), c[4]]) for number, c in enumerate(cells)])
        embed(EmbedConfig(CatalogSource((str(catalog.csv),)), store, "color-histogram"))
        index(IndexConfig(store, artifacts, "shop"))
        opened = CatalogIndex.open(artifacts, "shop")
        found = {match.item_id: match.metadata["price"] for match in opened.search_item("item-0003", 30)}
        priced = {int(item_id[-4:]): str(price) for item_id, price in found.items() if price is not None}
        assert len(found) == 30
        assert {number: text.removesuffix(".0") for number, text in priced.items()} == night


def test_colour_histograms_are_indexed_and_asked_by_euclidean_l1_and_cosine(
    make_catalog: Callable[..., Catalog], tmp_path: Path
) -> None:
    catalog = make_catalog(40)
    embed(EmbedConfig(CatalogSource((str(catalog.csv),)), str(tmp_path / "e"), "color-histogram:rgb:4x4x4"))
    for metric in ("l2", "l1", "cosine"):
        index(IndexConfig(str(tmp_path / "e"), str(tmp_path / "a"), metric, metric=metric))
        opened = CatalogIndex.open(str(tmp_path / "a"), metric)
        vectors = np.array([opened.vector_of(item_id) for item_id in catalog.ids])
        expected = exact_rows(vectors[:5], vectors, metric, 3)
        for row in range(5):
            matches = opened.search_item(catalog.ids[row], 3)
            assert [match.item_id for match in matches] == [catalog.ids[each] for each in expected[row]]
