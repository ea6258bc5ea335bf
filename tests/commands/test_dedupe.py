"""`dedupe` as it is typed: what it prints, what it writes, what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from commands.main import main
from tests.conftest import Finished, draw_catalog, files_below

Cli = Callable[..., Finished]


def make_shop(folder: Path) -> Path:
    """A store of 12 pictures, of which the first has a copy, a lossless one in another format, and one made smaller."""
    catalog = draw_catalog(folder / "catalog", 12)
    pictures = folder / "catalog" / "pictures"
    shutil.copy(pictures / "0.png", pictures / "copy.png")
    with Image.open(pictures / "0.png") as picture:
        picture.save(pictures / "lossless.bmp")
        picture.resize((33, 27), Image.Resampling.LANCZOS).save(pictures / "smaller.png")
    more = [
        f"{name},pictures/{name}.{kind},p0,1.5,label 0"
        for name, kind in (("copy", "png"), ("lossless", "bmp"), ("smaller", "png"))
    ]
    catalog.rewrite([*catalog.lines, *more])
    assert main(["embed", "--catalog", str(catalog.csv), "--output", str(folder / "e")]) == 0
    return folder / "e"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that nobody changes."""
    return make_shop(tmp_path_factory.mktemp("shop"))


def lines_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["item_id"]: row for row in csv.DictReader(file)}


def test_a_report_names_every_item_once_and_says_why(shop: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("dedupe", "--embeddings", shop, "--output", tmp_path / "r", "--json")
    assert done.code == 0, done.err
    summary = done.json
    keep, drop = lines_of(tmp_path / "r/keep.csv"), lines_of(tmp_path / "r/drop.csv")
    assert len(keep) + len(drop) == summary["items"] == 15
    assert not set(keep) & set(drop)
    assert sum(summary["by_tier"].values()) == summary["dropped"] == len(drop)
    assert drop["copy"]["tier"] == "pixels"  # Of the bitmap, the largest file of the three.
    kept = {row["kept_item_id"] for row in drop.values()}
    assert kept <= set(keep)
    pairs = pq.read_table(tmp_path / "r/pairs.parquet")
    assert len(pairs) == summary["pairs"]
    assert "smaller" in {*pairs["item_id"].to_pylist(), *pairs["other_item_id"].to_pylist()}
    stored = json.loads((tmp_path / "r/summary.json").read_text())
    assert {**stored, "seconds": summary["seconds"]} == summary
    assert (tmp_path / "r/index.html").exists()
    assert list((tmp_path / "r/pictures").rglob("*.webp"))
    assert not (tmp_path / "r/work").exists()


def test_no_image_is_read_where_no_picture_is_asked_for(tmp_path: Path, cli: Cli) -> None:
    shop = make_shop(tmp_path)
    shutil.rmtree(tmp_path / "catalog" / "pictures")
    done = cli("dedupe", "--embeddings", shop, "--output", tmp_path / "r", "--pictures", 0, "--json")
    assert done.code == 0
    assert done.json["dropped"] >= 3


def test_the_same_command_again_reads_the_report_and_another_one_is_refused(
    shop: Path, tmp_path: Path, cli: Cli
) -> None:
    assert cli("dedupe", "--embeddings", shop, "--output", tmp_path / "r", "--pictures", 0).code == 0
    before = files_below(tmp_path / "r")
    again = cli("dedupe", "--embeddings", shop, "--output", tmp_path / "r", "--pictures", 0)
    assert (again.code, "complete already" in again.err) == (0, True)
    other = cli("dedupe", "--embeddings", shop, "--output", tmp_path / "r", "--threshold", 0.9)
    assert other.code == 2
    assert "holds the report of another run" in other.err
    assert files_below(tmp_path / "r") == before


def test_pixels_are_verified_by_reading_images_again(tmp_path: Path, cli: Cli) -> None:
    shop = make_shop(tmp_path)
    asked = ("dedupe", "--embeddings", shop, "--pictures", 0, "--tiers", "bytes,pixels", "--json")
    stored = cli(*asked, "--output", tmp_path / "stored").json
    verified = cli(*asked, "--output", tmp_path / "verified", "--verify", "pixels").json
    assert verified["by_tier"] == stored["by_tier"]
    for image in tmp_path.rglob("lossless.bmp"):
        Image.new("RGB", (40, 40), "red").save(image)
    changed = cli(*asked, "--output", tmp_path / "changed", "--verify", "pixels").json
    assert changed["by_tier"]["pixels"] < stored["by_tier"]["pixels"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--tiers", "bytes,smell"), "--tiers bytes,smell"),
        (("--threshold", "0"), "--threshold 0"),
        (("--keeper", "beauty"), "--keeper"),
        (("--across",), "--across compares datasets or groups"),
        (("--assign-splits", "train=0.5"), "--assign-splits"),
        (("--ignore", "missing.csv"), "missing.csv"),
        (("--snapshot", "9"), "9"),
        (("--calibration", "nowhere"), "nowhere"),
    ],
)
def test_a_wrong_flag_gets_one_sentence_and_nothing_is_written(
    shop: Path, tmp_path: Path, cli: Cli, flags: tuple[str, ...], said: str
) -> None:
    done = cli("dedupe", "--embeddings", shop, "--output", tmp_path / "r", *flags)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("datasets", ["a", "a=x", "a=x,a=y", "=x,b=y"])
def test_datasets_are_several_names_with_a_store_each(tmp_path: Path, cli: Cli, datasets: str) -> None:
    done = cli("dedupe", "--datasets", datasets, "--output", tmp_path / "r")
    assert (done.code, "--datasets" in done.err) == (2, True)
