from __future__ import annotations

import csv
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from catalog import storage
from catalog.embedding_file import read_file, vectors_of
from catalog.errors import CatalogIndexerError, ConflictError, IntegrityError, UsageError
from catalog.partition import partitions_of
from catalog.rejects import read_rejects
from catalog.snapshot import latest_snapshot
from catalog.source import CatalogSource
from encoders.image_loader import ImageLoader
from encoders.registry import load_encoder
from pipelines.embed import EmbedConfig, embed
from tests.conftest import Catalog, draw_picture, files_below, snapshots_of

MakeCatalog = Callable[..., Catalog]


def config_of(catalog: Catalog, output: Path, **options: object) -> EmbedConfig:
    return EmbedConfig(CatalogSource((str(catalog.csv),)), str(output), "color-histogram", **options)  # type: ignore[arg-type]


def stored_rows(output: Path) -> dict[str, dict]:
    """Every live row of the newest snapshot, by item id; fails on an id that is there twice."""
    snapshot = latest_snapshot(str(output))
    assert snapshot is not None
    rows: dict[str, dict] = {}
    for entry in snapshot.files:
        table = read_file(storage.join(str(output), entry.path))
        assert len(table) == entry.rows
        for row in table.to_pylist():
            if row["item_id"] not in entry.removed:
                assert row["item_id"] not in rows
                rows[row["item_id"]] = row
    return rows


def test_every_picture_becomes_the_vector_that_the_encoder_gives_it(make_catalog: MakeCatalog, tmp_path: Path) -> None:
    catalog = make_catalog(60)
    summary = embed(config_of(catalog, tmp_path / "e"))
    assert (summary.rows, summary.embedded, summary.rejected, summary.snapshot) == (60, 60, 0, 1)
    rows = stored_rows(tmp_path / "e")
    assert sorted(rows) == catalog.ids
    encoder = load_encoder("color-histogram")
    loader = ImageLoader(encoder.info.input_size, EmbedConfig(CatalogSource(()), "", "").limits)
    for number in (0, 31, 59):
        path = catalog.csv.parent / "pictures" / f"{number}.png"
        loaded = loader.load_bytes(path.read_bytes())
        row = rows[f"item-{number:04d}"]
        np.testing.assert_allclose(row["embedding"], encoder.encode(loaded.pixels[None])[0], atol=1e-3)
        assert row["content_hash"] == loaded.content_hash
        assert (row["phash"], row["thumbnail"]) == (loaded.phash, loaded.thumbnail)
        assert (row["pixel_hash"], row["phash_256"]) == (loaded.pixel_hash, loaded.phash_256)
        assert row["bytes"] == path.stat().st_size
        assert (row["width"], row["height"], row["image_uri"]) == (48, 40, str(path))
        assert (row["product_id"], row["metadata"]) == (
            f"p{number // 3}",
            {"price": number + 0.5, "label": f"label {number % 5}"},
        )


def test_files_are_sorted_in_their_partition_and_named_in_the_snapshot(
    make_catalog: MakeCatalog, tmp_path: Path
) -> None:
    embed(config_of(make_catalog(80), tmp_path / "e"))
    snapshot = latest_snapshot(str(tmp_path / "e"))
    assert snapshot is not None
    for entry in snapshot.files:
        ids = pq.read_table(tmp_path / "e" / entry.path)["item_id"].to_pylist()
        assert ids == sorted(ids)
        assert set(partitions_of(ids, snapshot.partitions).tolist()) == {entry.partition}
        assert storage.size(str(tmp_path / "e" / entry.path)) == entry.bytes


def test_rows_that_cannot_be_embedded_are_rejected_with_their_reason(make_catalog: MakeCatalog, tmp_path: Path) -> None:
    catalog = make_catalog(12)
    (catalog.csv.parent / "pictures" / "3.png").write_bytes(b"<html>")
    (catalog.csv.parent / "pictures" / "4.png").unlink()
    lines = [
        *catalog.lines,
        catalog.lines[5],
        ",pictures/1.png,,,",
        "only,three,cells",
        "x,../../etc/passwd,,,",
        "y,,,,",
    ]
    catalog.rewrite(lines)
    summary = embed(config_of(catalog, tmp_path / "e"))
    assert summary.rejects_by_reason == {
        "duplicate_item_id": 1,
        "empty_item_id": 1,
        "no_image": 1,
        "not_found": 1,
        "outside_root": 1,
        "unparsable_row": 1,
        "unsupported_format": 1,
    }
    assert (summary.rows, summary.embedded, summary.rejected) == (17, 10, 7)
    snapshot = latest_snapshot(str(tmp_path / "e"))
    assert snapshot is not None
    written = [row for entry in snapshot.rejects for row in read_rejects(str(tmp_path / "e" / entry.path)).to_pylist()]
    assert {(row["reason"], row["item_id"], row["origin"]) for row in written} >= {
        ("duplicate_item_id", "item-0005", "catalog.csv row 14"),  # The same row as 7, and later.
        ("empty_item_id", "", "catalog.csv row 15"),
        ("unparsable_row", "", "catalog.csv row 16"),
        ("not_found", "item-0004", "catalog.csv row 6"),
    }
    assert len(written) == 7


def test_the_same_command_again_encodes_nothing_and_writes_no_file(make_catalog: MakeCatalog, tmp_path: Path) -> None:
    catalog = make_catalog(40)
    (catalog.csv.parent / "pictures" / "7.png").unlink()
    first = embed(config_of(catalog, tmp_path / "e"))
    before = files_below(tmp_path / "e")
    second = embed(config_of(catalog, tmp_path / "e"))
    assert (second.embedded, second.reused, second.rejected, second.snapshot) == (0, 39, 1, first.snapshot)
    assert files_below(tmp_path / "e") == before


def test_a_night_encodes_what_changed_and_keeps_every_other_file(
    make_catalog: MakeCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = make_catalog(100)
    embed(config_of(catalog, tmp_path / "e"))
    before, files = stored_rows(tmp_path / "e"), files_below(tmp_path / "e" / "files")
    pictures = catalog.csv.parent / "pictures"
    draw_picture(999).save(pictures / "10.png")  # Another image.
    draw_picture(1000).save(pictures / "new.png")
    lines = catalog.lines
    lines[20] = lines[20].replace("label 0", "label new")  # Another label.
    catalog.rewrite([*lines[:50], *lines[51:], "item-new,pictures/new.png,p,1.5,label 1"])  # One gone, one new.
    read = []
    fetch = storage.fetch
    monkeypatch.setattr(storage, "fetch", lambda uri, limit: read.append(Path(uri).name) or fetch(uri, limit))
    summary = embed(config_of(catalog, tmp_path / "e"))
    assert (summary.embedded, summary.reused, summary.removed, summary.snapshot) == (2, 98, 1, 2)
    assert sorted(read) == ["10.png", "new.png"]
    after = stored_rows(tmp_path / "e")
    assert set(after) == set(before) - {"item-0050"} | {"item-new"}
    assert after["item-0010"]["embedding"] != before["item-0010"]["embedding"]
    assert after["item-0020"]["metadata"]["label"] == "label new"
    assert after["item-0020"]["embedding"] == before["item-0020"]["embedding"]
    unchanged = set(before) & set(after) - {"item-0010", "item-0020"}
    assert all(after[item_id] == before[item_id] for item_id in unchanged)
    assert files.items() <= files_below(tmp_path / "e" / "files").items()


def test_neither_the_order_of_rows_nor_of_files_changes_a_byte_of_an_embedding_file(
    make_catalog: MakeCatalog, tmp_path: Path
) -> None:
    catalog = make_catalog(60)
    embed(config_of(catalog, tmp_path / "one"))
    lines = catalog.lines
    random.Random(3).shuffle(lines)
    header = catalog.csv.read_text().splitlines()[0]
    halves = [catalog.csv.with_name(name) for name in ("b.csv", "a.csv")]
    for path, part in zip(halves, (lines[:23], lines[23:]), strict=True):
        path.write_text("\n".join([header, *part]) + "\n")
    embed(EmbedConfig(CatalogSource(tuple(map(str, halves))), str(tmp_path / "two"), "color-histogram"))
    assert files_below(tmp_path / "one" / "files") == files_below(tmp_path / "two" / "files")
    one, two = latest_snapshot(str(tmp_path / "one")), latest_snapshot(str(tmp_path / "two"))
    assert one is not None
    assert two is not None
    assert (one.files, one.counts) == (two.files, two.counts)


@pytest.mark.parametrize("encoder", ["color-histogram", "savedmodel"])
def test_the_number_of_workers_changes_no_byte(
    make_catalog: MakeCatalog, tmp_path: Path, tiny_saved_model: Path, encoder: str
) -> None:
    catalog = make_catalog(150)
    spec = f"savedmodel:{tiny_saved_model}" if encoder == "savedmodel" else encoder
    modes = {
        "one": (),
        "threads": ("--direct_running_mode=multi_threading", "--direct_num_workers=3"),
        "processes": ("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
    }
    stores = {}
    for name, flags in modes.items():
        output = tmp_path / name
        embed(EmbedConfig(CatalogSource((str(catalog.csv),)), str(output), spec, beam_arguments=flags))
        stores[name] = (files_below(output / "files"), snapshots_of(output))
    assert stores["one"] == stores["threads"] == stores["processes"]


def test_a_store_keeps_the_settings_that_it_was_created_with(make_catalog: MakeCatalog, tmp_path: Path) -> None:
    catalog = make_catalog(5)
    embed(config_of(catalog, tmp_path / "e"))
    before = files_below(tmp_path / "e")
    with pytest.raises(UsageError, match=r"--partitions 64: .* was created with 16"):
        embed(config_of(catalog, tmp_path / "e", partitions=64))
    assert files_below(tmp_path / "e") == before


def test_a_run_that_was_overtaken_says_so_and_publishes_nothing(
    make_catalog: MakeCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pipelines.embed_steps as module

    catalog = make_catalog(5)
    write = module.write_snapshot

    def overtaken(store: str, snapshot: object) -> None:
        storage.create(storage.join(store, "snapshots", "000001.json"), b"{}")
        write(store, snapshot)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "write_snapshot", overtaken)
    with pytest.raises(ConflictError, match=r"another run published snapshot 1 .* run again to build on it"):
        embed(config_of(catalog, tmp_path / "e"))


def test_counts_that_do_not_reconcile_fail_the_run(
    make_catalog: MakeCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pipelines.embed_steps as module

    catalog = make_catalog(20)
    split = module.split_by_partition

    def losing(rows: object, partitions: int) -> dict:
        parts = split(rows, partitions)  # type: ignore[arg-type]
        parts.pop(next(iter(parts)))
        return parts

    monkeypatch.setattr(module, "split_by_partition", losing)
    with pytest.raises(CatalogIndexerError, match="counts do not reconcile: the catalog has 20 rows"):
        embed(config_of(catalog, tmp_path / "e"))
    assert latest_snapshot(str(tmp_path / "e")) is None


def test_float32_vectors_are_stored_as_the_encoder_gave_them(make_catalog: MakeCatalog, tmp_path: Path) -> None:
    catalog = make_catalog(3)
    embed(config_of(catalog, tmp_path / "e", vector_type="float32"))
    snapshot = latest_snapshot(str(tmp_path / "e"))
    assert snapshot is not None
    table = read_file(storage.join(str(tmp_path / "e"), snapshot.files[0].path))
    vectors = vectors_of(table["embedding"], 256)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors.sum(axis=1), 1, rtol=1e-6)


def test_one_cell_that_is_no_location_is_one_reject(make_catalog: MakeCatalog, tmp_path: Path) -> None:
    catalog = make_catalog(4)
    os.mkfifo(catalog.csv.parent / "pipe.jpg")
    (catalog.csv.parent / "folder.jpg").mkdir()
    cells = ["https://[cdn/a.jpg", "github://x/a.jpg", "pipe.jpg", "folder.jpg", "nul\0.jpg", "x" * 5_000]
    cells += [
        "webhdfs://host/a.jpg",
        "az://box/a.jpg",
        "s3://B U/a.jpg",
        "r2://box/a.jpg",
        "gs://B U/a.jpg",
        "s3://box//a.jpg",
    ]
    catalog.rewrite([*catalog.lines, *(f"bad-{number},{cell},,," for number, cell in enumerate(cells))])
    summary = embed(config_of(catalog, tmp_path / "e"))
    assert (summary.embedded, summary.rejected) == (4, 12)
    assert summary.rejects_by_reason == {"scheme_not_allowed": 5, "unreadable": 7}


def test_a_store_file_that_was_lost_does_not_let_two_divisions_meet(make_catalog: MakeCatalog, tmp_path: Path) -> None:
    catalog = make_catalog(5)
    embed(config_of(catalog, tmp_path / "e"))
    (tmp_path / "e" / "store.json").unlink()
    with pytest.raises(IntegrityError, match=r"store\.json does not belong to snapshot 1, which has 16 partitions"):
        embed(config_of(catalog, tmp_path / "e", partitions=64))


def test_an_empty_export_does_not_remove_the_catalog(make_catalog: MakeCatalog, tmp_path: Path) -> None:
    catalog = make_catalog(5)
    embed(config_of(catalog, tmp_path / "e"))
    catalog.rewrite([])
    with pytest.raises(UsageError, match=r"the catalog has no rows, and .* has 5 items, which would all be removed"):
        embed(config_of(catalog, tmp_path / "e"))
    snapshot = latest_snapshot(str(tmp_path / "e"))
    assert snapshot is not None
    assert snapshot.vectors == 5


def test_other_columns_in_another_order_are_no_change(make_catalog: MakeCatalog, tmp_path: Path) -> None:
    catalog = make_catalog(8)
    embed(config_of(catalog, tmp_path / "e"))
    before = files_below(tmp_path / "e")
    with catalog.csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with catalog.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["label", "price", "product_id", "image", "item_id"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    assert embed(config_of(catalog, tmp_path / "e")).reused == 8
    assert files_below(tmp_path / "e") == before


def test_a_damaged_embedding_file_is_named_and_not_built_upon(make_catalog: MakeCatalog, tmp_path: Path) -> None:
    catalog = make_catalog(30)
    embed(config_of(catalog, tmp_path / "e"))
    path = next((tmp_path / "e" / "files").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(IntegrityError, match=f"{path} is damaged"):
        embed(config_of(catalog, tmp_path / "e"))
