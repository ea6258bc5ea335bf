from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from commands.main import SUBCOMMANDS
from tests.conftest import Catalog, Finished, draw_picture

Cli = Callable[..., Finished]


@pytest.fixture
def report(cli: Cli, make_catalog: Callable[..., Catalog], tmp_path: Path) -> Path:
    assert "dedupe check" in SUBCOMMANDS
    catalog = make_catalog(8)
    cli("embed", "--catalog", catalog.csv, "--output", tmp_path / "store")
    done = cli("dedupe", "--embeddings", tmp_path / "store", "--output", tmp_path / "report", "--pictures", 0)
    assert done.code == 0, done.err
    return tmp_path / "report"


def test_images_are_new_duplicates_or_unread(cli: Cli, report: Path, tmp_path: Path) -> None:
    draw_picture(100).save(tmp_path / "new.png")
    shutil.copy(tmp_path / "new.png", tmp_path / "again.png")
    draw_picture(3).save(tmp_path / "known.jpg", quality=90)
    (tmp_path / "broken.png").write_bytes(b"<no picture>")
    images = [tmp_path / name for name in ("new.png", "again.png", "known.jpg", "broken.png")]
    checked = cli("dedupe", "check", "--report", report, "--image", *images, "-k", 1, "--json")
    assert checked.code == 1
    told = checked.json
    assert [(each["image"], each["verdict"]) for each in told["images"]] == [
        (str(images[0]), "new"),
        (str(images[1]), "duplicate"),
        (str(images[2]), "duplicate"),
    ]
    assert told["images"][1]["matches"][0]["in_batch"]
    match = told["images"][2]["matches"][0]
    assert (match["item_id"], match["in_batch"]) == ("item-0003", False)
    assert told["unread"][0]["reason"] == "unsupported_format"
    assert told["counts"] == {"new": 1, "duplicate": 2, "placeholder": 0}
    assert f"{images[3]}: unsupported_format" in checked.err
    assert cli("dedupe", "check", "--report", report, "--image", images[0], "--fail-on-duplicate").code == 0
    failed = cli("dedupe", "check", "--report", report, "--image", images[2], "--fail-on-duplicate")
    assert failed.code == 3
    assert "item-0003" in failed.out


def test_a_catalog_is_read_as_embed_reads_it_and_names_its_items(cli: Cli, report: Path, tmp_path: Path) -> None:
    (tmp_path / "batch").mkdir()
    draw_picture(101).save(tmp_path / "batch" / "a.png")
    (tmp_path / "batch.csv").write_text("item_id,image\nx,a.png\ny,a.png\nz,none.png\nw,\n")
    flags = ("--catalog", tmp_path / "batch.csv", "--images-root", tmp_path / "batch")
    checked = cli("dedupe", "check", "--report", report, *flags, "--json")
    assert checked.code == 1
    assert [(each["item_id"], each["verdict"]) for each in checked.json["images"]] == [("x", "new"), ("y", "duplicate")]
    assert checked.json["images"][1]["matches"][0]["item_id"] == "x"
    reasons = {each["item_id"]: each["reason"] for each in checked.json["unread"]}
    assert reasons == {"w": "no_image", "z": "not_found"}


def test_what_is_missing_is_told_in_a_sentence(cli: Cli, tmp_path: Path) -> None:
    wrong = cli("dedupe", "check", "--report", tmp_path / "none", "--image", tmp_path / "a.png")
    assert wrong.code == 2
    assert wrong.err.strip() == (
        f"catalog-indexer dedupe check: {tmp_path}/none holds no complete report; run catalog-indexer dedupe there "
        "first, or again"
    )
