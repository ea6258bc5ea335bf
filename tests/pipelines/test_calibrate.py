from __future__ import annotations

import csv
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catalog.errors import EncoderMismatchError, UsageError
from commands.main import main
from dedupe.calibration import FILE, Calibration, read_calibration, read_measure
from dedupe.edits import EDITS, TURNS
from dedupe.measure import FILE as MEASURE_FILE
from dedupe.views import DEFAULT_VIEWS, TURNED_VIEWS
from encoders.decode import DecodeLimits
from pipelines import calibrate as module
from pipelines.calibrate import CalibrateConfig, calibrate
from tests.conftest import Catalog, draw_catalog, files_below


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalog of 60 pictures and its embedding store `e`."""
    root = tmp_path_factory.mktemp("shop")
    catalog = draw_catalog(root / "catalog", 60)
    assert main(["embed", "--catalog", str(catalog.csv), "--output", str(root / "e")]) == 0
    return root


def run(shop: Path, output: Path, **settings: object) -> Calibration:
    config = CalibrateConfig(str(shop / "e"), str(output), **{"pictures": 20, "precision": 0.9, **settings})
    return calibrate(config)


def test_edits_of_the_catalogs_own_pictures_are_found(shop: Path, tmp_path: Path) -> None:
    found = run(shop, tmp_path / "c")
    assert (found.snapshot, found.pictures, found.unread) == (1, 20, 0)
    assert (found.catalog.vectors, found.unrelated.rows) == (60, 60)
    assert list(found.found) == list(EDITS)
    assert {len(each.thumbnail) for each in found.found.values()} == {20}
    assert found.chosen is not None
    assert found.chosen.least_precision >= 0.9
    by_edit = found.recall_by_edit()
    for name in ("jpeg30", "resize50", "contrast", "sharpen"):
        assert by_edit[name]["chosen"] == 1, name
    # A weak encoder and no turned views: a crop keeps more of a picture than it loses.
    assert found.found["crop10"].thumbnail.mean() > found.found["crop30"].thumbnail.mean()
    assert found.found["jpeg30"].combined.mean() > found.found["jpeg10"].combined.mean()


def test_what_is_written_is_what_was_found_and_the_same_the_next_time(shop: Path, tmp_path: Path) -> None:
    found = run(shop, tmp_path / "c", pictures=10)
    run(shop, tmp_path / "again", pictures=10)
    files = files_below(tmp_path / "c")
    assert set(files) == {FILE, MEASURE_FILE, "closest.csv"}
    assert files_below(tmp_path / "again") == files
    again = read_calibration(str(tmp_path / "c"))
    assert again.chosen == found.chosen
    assert read_measure(str(tmp_path / "c"), again).views == DEFAULT_VIEWS
    rows = list(csv.DictReader(files["closest.csv"].decode().splitlines()))
    assert [row["item_id"] for row in rows] == [pair.item_id for pair in found.unrelated.closest]
    assert all(Path(row["image_uri"]).exists() and Path(row["other_image_uri"]).exists() for row in rows)
    run(shop, tmp_path / "c", edits="jpeg30")
    assert list(read_calibration(str(tmp_path / "c")).found) == ["jpeg30"]


def test_turned_pictures_are_found_with_turned_views_only(shop: Path, tmp_path: Path) -> None:
    turned = run(shop, tmp_path / "turned", flips=True, pictures=10)
    assert list(turned.found) == [*EDITS, *TURNS]
    measure = read_measure(str(tmp_path / "turned"), turned)
    assert measure.views == (*DEFAULT_VIEWS, *TURNED_VIEWS)
    for name in TURNS:
        assert np.median(turned.found[name].thumbnail) > 0.9, name
    assert list(run(shop, tmp_path / "all", edits="all", pictures=2).found) == [*EDITS, *TURNS]


def test_pairs_of_one_product_are_left_out_and_so_are_those_that_a_person_knows(shop: Path, tmp_path: Path) -> None:
    found = run(shop, tmp_path / "c", edits="jpeg30")
    product = {f"item-{number:04d}": number // 3 for number in range(60)}
    assert all(product[pair.item_id] != product[pair.other_item_id] for pair in found.unrelated.closest)
    first = found.unrelated.closest[0]
    text = (tmp_path / "c" / "closest.csv").read_text().splitlines()
    text[1] = text[1].replace(",,", ",same,", 1)
    (tmp_path / "reviewed.csv").write_text("\n".join(text))
    again = run(shop, tmp_path / "d", edits="jpeg30", reviewed=str(tmp_path / "reviewed.csv"))
    assert again.unrelated.left_out["reviewed"] == 1
    assert again.unrelated.pairs == found.unrelated.pairs - 1
    assert first not in again.unrelated.closest
    assert found.unrelated.closest[1:] == again.unrelated.closest[: len(found.unrelated.closest) - 1]


def test_only_so_many_pictures_are_compared_and_edited_as_were_asked_for(shop: Path, tmp_path: Path) -> None:
    found = run(shop, tmp_path / "c", edits="jpeg30,grey", pictures=17, sample=30)
    assert (found.pictures, found.unrelated.rows, found.catalog.vectors) == (17, 30, 60)
    assert run(shop, tmp_path / "d", edits="jpeg30", pictures=500).pictures == 60


def test_pictures_that_are_gone_or_others_by_now_are_left_out(tmp_path: Path) -> None:
    catalog = draw_catalog(tmp_path / "catalog", 40)
    assert main(["embed", "--catalog", str(catalog.csv), "--output", str(tmp_path / "e")]) == 0
    for number in range(25):
        path = tmp_path / "catalog" / "pictures" / f"{number}.png"
        if number % 2:
            path.unlink()
        else:
            shutil.copy(tmp_path / "catalog" / "pictures" / "39.png", path)
    found = run(tmp_path, tmp_path / "c", edits="jpeg30", pictures=40)
    assert (found.pictures, found.unread) == (15, 25)
    assert found.found["jpeg30"].thumbnail.min() > 0.95
    for number in range(25, 36):
        (tmp_path / "catalog" / "pictures" / f"{number}.png").unlink()
    with pytest.raises(UsageError, match=r"^4 pictures of the sample could be read again as they were embedded"):
        run(tmp_path, tmp_path / "d", edits="jpeg30", pictures=40)
    assert not (tmp_path / "d").exists()


def test_pictures_of_the_same_bytes_are_edited_once(tmp_path: Path) -> None:
    catalog = draw_catalog(tmp_path / "catalog", 30)
    for number in range(1, 20):
        shutil.copy(tmp_path / "catalog" / "pictures" / "0.png", tmp_path / "catalog" / "pictures" / f"{number}.png")
    assert main(["embed", "--catalog", str(catalog.csv), "--output", str(tmp_path / "e")]) == 0
    found = run(tmp_path, tmp_path / "c", edits="jpeg30", pictures=40)
    assert (found.pictures, found.unrelated.rows) == (11, 30)
    of_other_products = sum(a // 3 != b // 3 for a, b in itertools.combinations(range(20), 2))
    assert found.unrelated.left_out["bytes"] == of_other_products


def test_large_pictures_are_made_smaller_first_and_small_ones_are_not(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    real = module.edit

    def seen(image: Image.Image, name: str) -> bytes:
        sizes.append(image.size)
        return real(image, name)

    monkeypatch.setattr(module, "edit", seen)
    catalog = draw_catalog(tmp_path / "catalog", 12)
    Image.effect_noise((3_000, 1_500), 60).convert("RGB").save(tmp_path / "catalog" / "pictures" / "3.png")
    assert main(["embed", "--catalog", str(catalog.csv), "--output", str(tmp_path / "e")]) == 0
    run(tmp_path, tmp_path / "c", edits="jpeg30")
    assert sorted(sizes) == [*[(48, 40)] * 11, (1_024, 512)]


def test_the_limits_of_the_embed_job_are_those_of_the_calibration(
    make_catalog: Callable[..., Catalog], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = make_catalog(12)
    limits = ["--max-pixels", "1000000", "--max-bytes", "100000"]
    assert main(["embed", "--catalog", str(catalog.csv), "--output", str(tmp_path / "e"), *limits]) == 0
    used: list[DecodeLimits] = []
    real = module.decode
    monkeypatch.setattr(module, "decode", lambda data, given, least: (used.append(given), real(data, given, least))[1])
    run(tmp_path, tmp_path / "c", edits="jpeg30")
    assert set(used) == {DecodeLimits(max_bytes=100_000, max_pixels=1_000_000)}


def test_what_cannot_be_calibrated_is_one_sentence(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no vectors; run catalog-indexer embed first"):
        run(tmp_path, tmp_path / "c")
    with pytest.raises(UsageError, match="has no snapshot 7; it has: 1"):
        run(shop, tmp_path / "c", snapshot=7)
    with pytest.raises(UsageError, match="--edits crop11 is unknown"):
        run(shop, tmp_path / "c", edits="crop11")
    with pytest.raises(UsageError, match=r"--reviewed .*none\.csv: no such file"):
        run(shop, tmp_path / "c", reviewed=str(tmp_path / "none.csv"))
    np.save(tmp_path / "v.npy", np.eye(30, dtype=np.float32))
    given = ["--input", str(tmp_path / "v.npy"), "--metric", "l2", "--output", str(tmp_path / "e")]
    assert main(["import-vectors", *given]) == 0
    with pytest.raises(UsageError, match="has imported vectors, which have no pictures to edit"):
        run(tmp_path, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_most_edits_of_real_photos_are_found_without_taking_one_product_for_another(
    shared: Path, tmp_path: Path
) -> None:
    photos = shared / "data" / "grocery"
    with (photos / "catalog.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / "catalog.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows[::20])
    given = ["--catalog", str(tmp_path / "catalog.csv"), "--images-root", str(photos), "--output", str(tmp_path / "e")]
    assert main(["embed", *given]) == 0
    found = run(tmp_path, tmp_path / "c", precision=0.95, edits="jpeg10,resize25,grey,crop10,logo,rotate5")
    assert found.chosen is not None
    assert found.chosen.least_precision >= 0.95
    assert found.chosen.recall > 0.8
    # The pairs that it would report of the sample, and the bound that it gave for them.
    wrong = [
        pair
        for pair in found.unrelated.closest
        if pair.thumbnail >= found.chosen.thumbnail_threshold or pair.combined >= found.chosen.threshold
    ]
    assert len(wrong) <= found.chosen.most_false_pairs + 1


def test_another_encoder_of_the_same_name_is_refused(shop: Path, tmp_path: Path) -> None:
    shutil.copytree(shop / "e", tmp_path / "e")
    path = tmp_path / "e" / "snapshots" / "000001.json"
    snapshot = json.loads(path.read_bytes())
    snapshot["encoder"]["fingerprint"] = "0" * 64
    path.write_text(json.dumps(snapshot))
    with pytest.raises(EncoderMismatchError, match="is not what made snapshot 1: fingerprint"):
        run(tmp_path, tmp_path / "c")
