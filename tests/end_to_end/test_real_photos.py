"""The main job on real photos and with a real encoder: what it must show."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import pytest

from catalog import storage
from catalog.embedding_file import read_file, vectors_of
from catalog.rejects import Reason
from catalog.snapshot import latest_snapshot
from index_builder.catalog_index import CatalogIndex
from index_builder.searching.searcher import OperatingPoint
from tests.conftest import REPOSITORY, files_below


def run_cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "commands.main", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, text=True, capture_output=True, timeout=500, check=False)


def last_json(done: subprocess.CompletedProcess[str]) -> dict:
    return json.loads(done.stdout.splitlines()[-1])


def mobilenet(shared: Path) -> str:
    return f"savedmodel:{shared}/models/mobilenet_v2_100_224"


@dataclass(frozen=True)
class Grocery:
    """The grocery photos, embedded and indexed by the command line."""

    folder: Path
    embedded: dict
    indexed: dict
    rows: dict[str, dict]
    index: CatalogIndex

    @property
    def artifact(self) -> tuple[object, ...]:
        return ("--artifacts", self.folder / "artifacts", "--name", "grocery")


@pytest.fixture(scope="module")
def grocery(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Grocery:
    folder = tmp_path_factory.mktemp("grocery")
    catalog = shared / "data" / "grocery" / "catalog.csv"
    embeddings, artifacts = folder / "embeddings", folder / "artifacts"
    done = run_cli("embed", "--catalog", catalog, "--encoder", mobilenet(shared), "--output", embeddings, "--json")
    assert done.returncode == 0, done.stderr
    built = run_cli("index", "--embeddings", embeddings, "--artifacts", artifacts, "--name", "grocery", "--json")
    assert built.returncode == 0, built.stderr
    snapshot = latest_snapshot(str(embeddings))
    assert snapshot is not None
    rows = {
        row["item_id"]: row
        for entry in snapshot.files
        for row in read_file(storage.join(str(embeddings), entry.path)).to_pylist()
    }
    opened = CatalogIndex.open(str(artifacts), "grocery")
    return Grocery(folder, last_json(done), last_json(built), rows, opened)


def test_all_grocery_photos_are_embedded_and_none_rejected(grocery: Grocery) -> None:
    counts = {name: grocery.embedded[name] for name in ("rows", "embedded", "reused", "rejected", "removed")}
    assert counts == {"rows": 3017, "embedded": 3017, "reused": 0, "rejected": 0, "removed": 0}
    assert len(grocery.rows) == 3017
    apple = grocery.rows["g00000"]
    assert (apple["product_id"], apple["metadata"]["category"]) == ("p00", "Apple")
    assert apple["metadata"]["description"].startswith("Golden Delicious has a white juicy pulp and a greenish")


def agreement(grocery: Grocery, nearest: dict[str, str]) -> tuple[float, float]:
    """Share of the val photos whose nearest train photo is of their category, and of their product."""
    rows = grocery.rows
    same = [(rows[q]["metadata"]["category"] == rows[n]["metadata"]["category"]) for q, n in nearest.items()]
    product = [rows[q]["product_id"] == rows[n]["product_id"] for q, n in nearest.items()]
    return float(np.mean(same)), float(np.mean(product))


def split(grocery: Grocery, name: str) -> list[str]:
    return sorted(item_id for item_id, row in grocery.rows.items() if row["metadata"]["split"] == name)


def test_exact_neighbours_agree_as_often_as_this_encoder_gives(grocery: Grocery) -> None:
    val, train = split(grocery, "val"), split(grocery, "train")
    assert len(val) == 296
    vectors = {
        name: np.array([grocery.rows[item_id]["embedding"] for item_id in ids], np.float32)
        for name, ids in (("val", val), ("train", train))
    }
    nearest = (vectors["val"] @ vectors["train"].T).argmax(axis=1)
    category, product = agreement(grocery, {q: train[n] for q, n in zip(val, nearest, strict=True)})
    assert 0.68 <= category <= 0.72
    assert 0.54 <= product <= 0.58


@pytest.mark.parametrize("rerank", ["default", "codes only"])
def test_the_published_index_agrees_at_its_default_point(grocery: Grocery, rerank: str) -> None:
    point = grocery.index.default if rerank == "default" else OperatingPoint(grocery.index.default.nprobe, 0)
    train, nearest = set(split(grocery, "train")), {}
    for query in split(grocery, "val"):
        matches = grocery.index.search(np.array(grocery.rows[query]["embedding"], np.float32), 300, point)
        nearest[query] = next(match.item_id for match in matches if match.item_id in train)
    assert agreement(grocery, nearest)[0] >= 0.67


def test_the_index_is_ivf_pq_and_its_recall_is_published(grocery: Grocery) -> None:
    assert grocery.indexed["index"].startswith("OPQ")
    assert "IVF" in grocery.indexed["index"]
    assert grocery.indexed["recall"]["10"] > 0.95
    assert (grocery.indexed["vectors"], grocery.indexed["dimension"]) == (3017, 1280)
    assert grocery.indexed["channel"] == "prod"


def test_every_item_finds_itself_first_with_cosine_one(grocery: Grocery) -> None:
    for item_id in sorted(grocery.rows)[::30]:
        match = grocery.index.search(grocery.index.vector_of(item_id), 1)[0]
        assert match.item_id == item_id
        assert match.score == pytest.approx(1, abs=2e-3)
    done = run_cli("search", *grocery.artifact, "--image", grocery.rows["g00042"]["image_uri"], "-k", 3, "--json")
    assert done.returncode == 0, done.stderr
    first = last_json(done)["results"][0]
    assert first["item_id"] == "g00042"
    assert first["score"] == pytest.approx(1, abs=2e-3)


def test_vectors_are_those_of_tensorflow_on_the_same_pixels(grocery: Grocery, shared: Path) -> None:
    from PIL import Image

    from encoders.tensorflow_import import tensorflow

    tf = tensorflow()
    model = tf.saved_model.load(f"{shared}/models/mobilenet_v2_100_224")
    compared = 0
    for item_id in sorted(grocery.rows)[7::300]:
        with Image.open(grocery.rows[item_id]["image_uri"]) as image:
            if image.info.get("icc_profile") or min(image.size) >= 2 * 2 * 224:
                continue  # Through its colour profile, or reduced while it decodes: not these plain pixels.
            pixels = np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR), np.float32) / 255
        raw = model(pixels[None]).numpy()[0]
        stored = np.array(grocery.rows[item_id]["embedding"], np.float32)
        assert float(stored @ raw / np.linalg.norm(raw)) > 0.9999, item_id
        compared += 1
    assert compared >= 5


def test_plain_faiss_and_parquet_readers_see_the_same_catalog(grocery: Grocery) -> None:
    manifest = grocery.index.manifest
    folder = grocery.folder / "artifacts" / "grocery" / "versions" / manifest.version
    index = faiss.read_index(str(folder / "index.faiss"))
    assert index.ntotal == 3017
    snapshot = latest_snapshot(str(grocery.folder / "embeddings"))
    assert snapshot is not None
    table = read_file(storage.join(str(grocery.folder / "embeddings"), snapshot.files[0].path))
    assert vectors_of(table["embedding"], 1280).shape == (snapshot.files[0].rows, 1280)


def clothing(shared: Path, output: Path) -> tuple[object, ...]:
    folder = shared / "data" / "clothing"
    flags = ("--catalog", folder / "images.csv", "--image-template", "images/{image}.jpg", "--images-root", folder)
    return ("embed", *flags, "--output", output, "--json")


def test_a_catalog_as_people_leave_it_reconciles(shared: Path, tmp_path: Path) -> None:
    first = run_cli(*clothing(shared, tmp_path / "e"))
    assert first.returncode == 0, first.stderr
    summary = last_json(first)
    assert (summary["rows"], summary["embedded"], summary["rejected"]) == (1505, 1500, 5)
    assert summary["rejects_by_reason"] == {"not_found": 5}
    before = files_below(tmp_path / "e")
    again = run_cli(*clothing(shared, tmp_path / "e"), "--fail-on-rejects", 0)
    assert again.returncode == 1
    assert (last_json(again)["embedded"], last_json(again)["reused"]) == (0, 1500)
    assert files_below(tmp_path / "e") == before
    snapshot = latest_snapshot(str(tmp_path / "e"))
    assert snapshot is not None
    table = read_file(storage.join(str(tmp_path / "e"), snapshot.files[0].path))
    assert [str(field.type) for field in table.schema.field("metadata").type] == ["int64", "string", "bool"]


_PEAK = "import resource, sys; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr)"


def peak_megabytes(code: str) -> float:
    """Peak memory of a fresh process that runs `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{_PEAK}"],
        cwd=REPOSITORY,
        text=True,
        capture_output=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return float(done.stderr.splitlines()[-1])


def test_every_awkward_file_ends_as_an_embedding_or_a_reject_in_bounded_memory(shared: Path, tmp_path: Path) -> None:
    scanned = run_cli("scan", shared / "data" / "robust", "--output", tmp_path / "robust.csv", "--json")
    assert last_json(scanned)["items"] == 208
    model = f"from encoders.registry import load_encoder; load_encoder({mobilenet(shared)!r})"
    flags = ["embed", "--catalog", tmp_path / "robust.csv", "--encoder", mobilenet(shared), "--output", tmp_path / "e"]
    job = f"from commands.main import main; assert main({[str(flag) for flag in flags]!r}) == 0"
    alone = peak_megabytes(f"{model}; import apache_beam")
    assert peak_megabytes(job) < alone + 1000
    snapshot = latest_snapshot(str(tmp_path / "e"))
    assert snapshot is not None
    counts = snapshot.counts
    assert counts.rows == 208 == counts.embedded + counts.rejected
    assert counts.embedded >= 140
    assert set(counts.rejects_by_reason) <= {reason.value for reason in Reason}
    assert counts.rejects_by_reason["too_many_pixels"] == 7
    assert counts.rejects_by_reason["empty"] == 1
    seen = Counter(
        item_id
        for entry in snapshot.files
        for item_id in read_file(str(tmp_path / "e" / entry.path))["item_id"].to_pylist()
    )
    assert max(seen.values()) == 1
    for good in ("exif_orientation__sharp_Landscape_6.jpg", "avif__Pillow_hopper.avif", "lab__Pillow_hopper.Lab.tif"):
        assert good in seen
    assert not any(name.startswith("bomb__sharp") for name in seen)
