"""What a night costs and keeps: changes told in three ways, deltas and folds, failures that pass, other encoders."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog import storage
from catalog.errors import CatalogIndexerError
from catalog.partition_rows import Changes
from catalog.snapshot import Snapshot, latest_snapshot
from catalog.source import CatalogSource
from pipelines.embed import EmbedConfig, embed
from tests.conftest import Catalog, draw_picture, files_below
from tests.pipelines.test_embed import stored_rows

MakeCatalog = Callable[..., Catalog]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "embeddings"


def config_of(catalog: Catalog, store: Path, **options: object) -> EmbedConfig:
    source = CatalogSource((str(catalog.csv),), source_version_column=options.pop("column", None))  # type: ignore[arg-type]
    return EmbedConfig(source, str(store), **{"encoder": "color-histogram", **options})  # type: ignore[arg-type]


def newest(store: Path) -> Snapshot:
    snapshot = latest_snapshot(str(store))
    assert snapshot is not None
    return snapshot


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that are read."""
    names: list[str] = []
    fetch = storage.fetch
    monkeypatch.setattr(storage, "fetch", lambda uri, limit: names.append(Path(uri).name) or fetch(uri, limit))
    return names


def test_an_image_that_was_only_touched_is_read_but_not_encoded(
    make_catalog: MakeCatalog, store: Path, reads: list[str]
) -> None:
    catalog = make_catalog(40)
    embed(config_of(catalog, store))
    before = stored_rows(store)
    os.utime(catalog.csv.parent / "pictures" / "7.png", (1, 1))
    reads.clear()
    summary = embed(config_of(catalog, store))
    assert (summary.embedded, summary.reused, reads) == (0, 40, ["7.png"])
    after = stored_rows(store)
    assert after["item-0007"].pop("source_version") != before["item-0007"].pop("source_version")
    assert after == before
    reads.clear()
    embed(config_of(catalog, store))
    assert reads == []


def test_by_a_column_no_image_is_looked_at_unless_its_cell_changed(
    make_catalog: MakeCatalog, store: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = make_catalog(30)
    by_column = {"changes": Changes.COLUMN, "column": "label"}
    embed(config_of(catalog, store, **by_column))
    assert stored_rows(store)["item-0003"]["source_version"] == "label 3"
    pictures = catalog.csv.parent / "pictures"
    draw_picture(99).save(pictures / "4.png")  # Not said by the catalog: not seen.
    draw_picture(98).save(pictures / "5.png")
    lines = catalog.lines
    lines[5] = lines[5].replace("label 0", "label new")
    lines[6] = lines[6].replace("label 1", "label also new")  # Said, but the bytes are the same.
    catalog.rewrite(lines)
    reads.clear()
    monkeypatch.setattr(storage, "version_of", _only_catalogs(storage.version_of))
    summary = embed(config_of(catalog, store, **by_column))
    assert (summary.embedded, summary.reused, sorted(reads)) == (1, 29, ["5.png", "6.png"])
    assert stored_rows(store)["item-0006"]["source_version"] == "label also new"
    reads.clear()
    assert embed(config_of(catalog, store, **by_column)).reused == 30
    assert reads == []


def _only_catalogs(version_of: Callable[[str], str]) -> Callable[[str], str]:
    def guarded(url: str) -> str:
        assert url.endswith(".csv"), f"the store was asked about {url}"
        return version_of(url)

    return guarded


def test_by_content_a_change_that_the_store_does_not_show_is_seen(
    make_catalog: MakeCatalog, store: Path, reads: list[str]
) -> None:
    catalog = make_catalog(30)
    by_content = {"changes": Changes.CONTENT}
    embed(config_of(catalog, store, **by_content))
    path = catalog.csv.parent / "pictures" / "9.png"
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-20] + bytes(20))  # As large, and of the same time.
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert embed(config_of(catalog, store)).reused == 30  # By the store nothing happened.
    reads.clear()
    before = files_below(store / "files")
    summary = embed(config_of(catalog, store, **by_content))
    assert len(reads) == 30
    assert summary.embedded + summary.rejected == 1
    assert summary.reused == 29
    assert len(files_below(store / "files")) <= len(before) + 1


def test_another_way_to_tell_changes_compares_bytes_once_and_encodes_nothing(
    make_catalog: MakeCatalog, store: Path, reads: list[str]
) -> None:
    catalog = make_catalog(20)
    embed(config_of(catalog, store))
    reads.clear()
    summary = embed(config_of(catalog, store, changes=Changes.COLUMN, column="label"))
    assert (summary.embedded, summary.reused, len(reads)) == (0, 20, 20)


@pytest.mark.parametrize("error", [TimeoutError("late"), PermissionError("no"), OSError(5, "Input/output error")])
def test_an_item_whose_image_cannot_be_read_for_now_keeps_its_vector(
    make_catalog: MakeCatalog, store: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    catalog = make_catalog(20)
    embed(config_of(catalog, store))
    before = stored_rows(store)
    draw_picture(500).save(catalog.csv.parent / "pictures" / "3.png")
    fetch = storage.fetch

    def failing(uri: str, limit: int) -> storage.Fetched:
        if uri.endswith("/3.png"):
            raise error
        return fetch(uri, limit)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "fetch", failing)
        summary = embed(config_of(catalog, store))
    assert (summary.reused, summary.rejected, summary.stale) == (20, 0, 1)
    assert stored_rows(store) == before
    later = embed(config_of(catalog, store))
    assert (later.embedded, later.reused, later.stale) == (1, 19, 0)
    assert stored_rows(store)["item-0003"]["embedding"] != before["item-0003"]["embedding"]


def test_an_image_that_is_gone_or_broken_takes_its_item_with_it(make_catalog: MakeCatalog, store: Path) -> None:
    catalog = make_catalog(20)
    embed(config_of(catalog, store))
    (catalog.csv.parent / "pictures" / "3.png").unlink()
    (catalog.csv.parent / "pictures" / "4.png").write_bytes(b"broken")
    summary = embed(config_of(catalog, store))
    assert summary.rejects_by_reason == {"not_found": 1, "unsupported_format": 1}
    assert (summary.reused, summary.stale) == (18, 0)
    assert not {"item-0003", "item-0004"} & set(stored_rows(store))


def test_deltas_are_folded_past_the_threshold_and_nothing_else_is_rewritten(
    make_catalog: MakeCatalog, store: Path
) -> None:
    catalog = make_catalog(200)
    embed(config_of(catalog, store))
    pictures, untouched = catalog.csv.parent / "pictures", set()
    before = newest(store)
    folded = set()
    for night in range(6):
        for number in range(night, 40, 8):
            draw_picture(1_000 * (night + 1) + number).save(pictures / f"{number}.png")
        summary = embed(config_of(catalog, store))
        assert (summary.embedded, summary.reused) == (5, 195)
        after = newest(store)
        for partition in range(after.partitions):
            old, new = before.files_of(partition), after.files_of(partition)
            if len(new) == 1 and len(old) > 0 and new[0].path != old[0].path:
                folded.add(partition)
                assert new[0].removed == ()
                assert after.files_of(partition)[0].path not in {entry.path for entry in old}
            elif old == new:
                untouched.add(partition)
            else:
                assert [entry.path for entry in new[:-1]] == [entry.path for entry in old][: len(new) - 1]
        before = after
        rows = stored_rows(store)
        assert sorted(rows) == catalog.ids
    assert folded
    assert untouched
    fresh = embed(config_of(catalog, store.with_name("fresh")))
    assert fresh.embedded == 200
    assert stored_rows(store.with_name("fresh")) == stored_rows(store)


def test_one_image_in_a_hundred_costs_one_hundredth_and_rewrites_nothing(tmp_path: Path, store: Path) -> None:
    rows, changed = 5_000, 50
    (tmp_path / "pictures").mkdir()
    drawn = []
    for seed in range(100 + changed):
        draw_picture(seed, (12, 10)).save(tmp_path / "drawn.png")
        drawn.append((tmp_path / "drawn.png").read_bytes())
    for row in range(rows):
        (tmp_path / "pictures" / f"{row}.png").write_bytes(drawn[row % 100])
    lines = [f"item-{row:05d},pictures/{row}.png" for row in range(rows)]
    (tmp_path / "catalog.csv").write_text("\n".join(["item_id,image", *lines, ""]))
    catalog = Catalog(tmp_path / "catalog.csv", [])
    assert embed(config_of(catalog, store)).cost["encoded_images"] == rows
    before = files_below(store / "files")
    for row in range(50, rows, 100):
        (tmp_path / "pictures" / f"{row}.png").write_bytes(drawn[100 + row // 100])
    summary = embed(config_of(catalog, store))
    assert (summary.embedded, summary.reused, summary.cost["encoded_images"]) == (changed, rows - changed, changed)
    after = files_below(store / "files")
    assert before.items() <= after.items()
    assert len(after) - len(before) <= newest(store).partitions
    assert {entry.path for entry in newest(store).files} == {f"files/{name}" for name in after}


def test_a_fold_gives_the_file_that_a_fresh_run_gives(make_catalog: MakeCatalog, store: Path) -> None:
    catalog = make_catalog(60)
    catalog.rewrite(catalog.lines[:40])
    embed(config_of(catalog, store, compact_at=0.0))
    make_all = catalog.csv.read_text().splitlines()[0]
    lines = [f"item-{n:04d},pictures/{n}.png,p{n // 3},{n}.5,label {n % 5}" for n in range(60)]
    catalog.csv.write_text("\n".join([make_all, *lines]) + "\n")
    embed(config_of(catalog, store, compact_at=0.0))
    embed(config_of(catalog, store.with_name("fresh")))
    assert newest(store).files == newest(store.with_name("fresh")).files


@pytest.mark.parametrize("loss", ["a mount that is gone", "an export that was cut"])
def test_a_run_that_would_lose_most_items_publishes_nothing_and_can_be_repeated(
    make_catalog: MakeCatalog, store: Path, loss: str
) -> None:
    catalog = make_catalog(30)
    embed(config_of(catalog, store))
    before, rows, lines = files_below(store), stored_rows(store), catalog.lines
    pictures = catalog.csv.parent / "pictures"
    if loss == "a mount that is gone":
        pictures.rename(pictures.with_name("elsewhere"))
    else:
        catalog.rewrite(lines[:10])
    with pytest.raises(CatalogIndexerError, match=r"of 30 items only \d+ would be left .* give --may-lose 1"):
        embed(config_of(catalog, store))
    assert {name for name in files_below(store) if "snapshots/" in name} == {"snapshots/000001.json"}
    assert before.items() <= files_below(store).items()
    if loss == "a mount that is gone":
        pictures.with_name("elsewhere").rename(pictures)
        assert embed(config_of(catalog, store)).reused == 30
        assert stored_rows(store) == rows
    else:
        summary = embed(config_of(catalog, store, may_lose=1.0))
        assert (summary.reused, summary.removed, summary.snapshot) == (10, 20, 2)


def test_a_new_lineage_does_not_begin_with_nothing(make_catalog: MakeCatalog, store: Path) -> None:
    catalog = make_catalog(30)
    embed(config_of(catalog, store))
    pictures = catalog.csv.parent / "pictures"
    pictures.rename(pictures.with_name("elsewhere"))
    with pytest.raises(CatalogIndexerError, match=r"of 30 items only 0 would be left .*rejected: 30 not_found"):
        embed(config_of(catalog, store, encoder="color-histogram:rgb"))
    assert newest(store).sequence == 1


def test_a_fold_keeps_what_could_not_be_read_as_it_was(
    make_catalog: MakeCatalog, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = make_catalog(40)
    embed(config_of(catalog, store))
    before = stored_rows(store)
    for number in range(40):
        draw_picture(700 + number).save(catalog.csv.parent / "pictures" / f"{number}.png")
    lines = [line.replace("label", "mark") + ",new" for line in catalog.lines]
    catalog.csv.write_text("\n".join(["item_id,image,product_id,price,label,more", *lines, ""]))
    fetch = storage.fetch

    def failing(uri: str, limit: int) -> storage.Fetched:
        if uri.endswith(("/3.png", "/33.png")):
            raise TimeoutError("late")
        return fetch(uri, limit)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "fetch", failing)
        summary = embed(config_of(catalog, store, compact_at=0.0))
    assert (summary.embedded, summary.reused, summary.stale) == (38, 2, 2)
    after = stored_rows(store)
    assert all(len(newest(store).files_of(partition)) <= 1 for partition in range(16))
    for item_id in ("item-0003", "item-0033"):
        kept, was = dict(after[item_id]), dict(before[item_id])
        assert kept.pop("metadata") == {**was.pop("metadata"), "more": None}
        assert kept == was
    assert after["item-0004"]["metadata"]["label"] == "mark 4"
    later = embed(config_of(catalog, store))
    assert (later.embedded, later.stale) == (2, 0)
    assert sorted(stored_rows(store)) == catalog.ids


def test_a_location_with_a_query_is_read_whatever_the_column_says(
    make_catalog: MakeCatalog, store: Path, reads: list[str], tmp_path: Path
) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        storage.write(f"memory://queries/{name}.png?id={name}", picture_of(seed))
    csv = tmp_path / "q.csv"
    config = EmbedConfig(
        CatalogSource((str(csv),), source_version_column="v"), str(store), "color-histogram", changes=Changes.COLUMN
    )
    csv.write_text("item_id,image,v\nx,memory://queries/a.png?id=a,1\n")
    embed(config)
    first = stored_rows(store)["x"]["content_hash"]
    storage.write("memory://queries/a.png?id=b", picture_of(2))
    csv.write_text("item_id,image,v\nx,memory://queries/a.png?id=b,1\n")
    embed(config)
    assert stored_rows(store)["x"]["content_hash"] != first


def picture_of(seed: int) -> bytes:
    sink = io.BytesIO()
    draw_picture(seed).save(sink, "PNG")
    return sink.getvalue()


def test_a_failing_partition_ends_the_job_without_waiting_for_the_others(
    make_catalog: MakeCatalog, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import encode_partition

    catalog = make_catalog(60)
    begun: list[int] = []
    write = encode_partition.PartitionEncoder._write

    def failing(self: object, partition: int, *rest: object) -> object:
        begun.append(partition)
        if len(begun) == 1:
            raise CatalogIndexerError("the disk is full")
        return write(self, partition, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(encode_partition.PartitionEncoder, "_write", failing)
    with pytest.raises(CatalogIndexerError, match="the disk is full"):
        embed(config_of(catalog, store))
    assert len(begun) <= 3
    monkeypatch.undo()
    assert embed(config_of(catalog, store)).rows == 60
    assert sorted(stored_rows(store)) == catalog.ids


def test_another_encoder_starts_a_lineage_of_its_own_and_says_so(make_catalog: MakeCatalog, store: Path) -> None:
    catalog = make_catalog(20)
    embed(config_of(catalog, store))
    first, said = newest(store), []
    other = config_of(catalog, store, encoder="color-histogram:rgb")
    summary = embed(other, said.append)
    assert (summary.embedded, summary.reused, summary.snapshot, summary.lineage) == (20, 0, 2, 2)
    assert any("another encoder than snapshot 1's" in line and "starts a new lineage" in line for line in said)
    second = newest(store)
    assert (second.parent, second.lineage) == (1, 2)
    assert not {entry.path for entry in first.files} & {entry.path for entry in second.files}
    assert embed(other).reused == 20
    back = embed(config_of(catalog, store), said.append)
    assert (back.embedded, back.reused, back.snapshot, back.lineage) == (0, 20, 3, 1)
    assert "goes on with lineage 1, from snapshot 1" in said[-2] + said[-1]
    third = newest(store)
    assert (third.files, third.parent, third.encoder) == (first.files, 2, first.encoder)
    assert embed(config_of(catalog, store)).snapshot == 3


def test_a_snapshot_says_what_its_run_cost(make_catalog: MakeCatalog, store: Path) -> None:
    catalog = make_catalog(20)
    summary = embed(config_of(catalog, store))
    cost = newest(store).cost
    assert cost == summary.cost
    size = sum(path.stat().st_size for path in (catalog.csv.parent / "pictures").iterdir())
    assert (cost["fetched_images"], cost["fetched_bytes"], cost["encoded_images"]) == (20, size, 20)
    assert min(cost["fetch_seconds"], cost["decode_seconds"], cost["encode_seconds"]) >= 0
    draw_picture(77).save(catalog.csv.parent / "pictures" / "0.png")
    embed(config_of(catalog, store))
    assert newest(store).cost["encoded_images"] == 1
