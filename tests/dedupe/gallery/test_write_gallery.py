from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from catalog import storage
from dedupe.gallery.contents import TIERS, GalleryContents
from dedupe.gallery.write_gallery import write_gallery
from tests.conftest import files_below
from tests.dedupe.gallery.reports import (
    GROUP_SCHEMA,
    HOSTILE,
    Report,
    dropped,
    hostile_report,
    many_groups,
    member,
    webp,
    whole_report,
)

Write = Callable[[Report], Path]


def data(folder: Path, kind: str) -> list[list[Any]]:
    """The values of each data file of a kind, in their order."""
    found = []
    for path in sorted((folder / "data").glob(f"{kind}-*.js")):
        match = re.fullmatch(r'galleryData\("([\w-]+)",(.*)\);\n', path.read_text("ascii"), re.DOTALL)
        assert match is not None
        assert match[1] == path.stem
        found.append(json.loads(match[2]))
    return found


def test_every_group_is_on_one_page_with_its_members_keeper_first(written: Write) -> None:
    report = many_groups(205)
    pages = data(written(report), "groups")
    assert all(len(page) <= 40 for page in pages)
    shown = {group["id"]: [each["id"] for each in group["members"]] for page in pages for group in page}
    assert shown == {name: [row["item_id"] for row in rows] for name, rows in report.groups.items()}
    one = pages[0][0]["members"][1]
    (row,) = [row for row in report.rows if row["item_id"] == one["id"]]
    assert (one["role"], one["tier"], one["why"], one["value"]) == (
        row["role"],
        row["tier"],
        row["reason"],
        row["group_value"],
    )
    assert one.get("score") == row["score"]


def test_filters_are_told_of_every_group(written: Write) -> None:
    report = many_groups(205)
    folder = written(report)
    entries = [entry for file in data(folder, "search") for entry in file]
    assert len(entries) == 205
    pages = data(folder, "groups")
    for (page, items, tiers, lowest, crosses, name, ids), (group, rows) in zip(
        entries, report.groups.items(), strict=True
    ):
        scores = [row["score"] for row in rows if row["score"] is not None]
        assert (name, items, lowest) == (group, len(rows), min(scores, default=None))
        assert {tier for bit, tier in enumerate(TIERS) if tiers & 1 << bit} == {row["tier"] for row in rows[1:]}
        assert crosses == (len({row["group_value"] for row in rows}) > 1)
        assert ids.split("\n") == [row["item_id"] for row in rows]
        assert group in [each["id"] for each in pages[page]]


def test_a_group_of_very_many_shows_the_first_and_counts_the_others(tmp_path: Path) -> None:
    count = 60_000

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pylist([member("g", "k"), dropped("g", "near", "k", "phash", 0.9)], GROUP_SCHEMA)
        for start in range(2, count, 10_000):
            ids = [f"copy-{number:09d}" for number in range(start, min(count, start + 10_000))]
            columns = {"group_id": ["g"] * len(ids), "item_id": ids, "tier": ["bytes"] * len(ids)}
            yield pa.RecordBatch.from_pydict(columns)
        yield pa.RecordBatch.from_pylist([member("h", "other"), dropped("h", "o2", "other", "bytes", None)])

    empty = GalleryContents({}, batches, (), (), (), lambda uri: None)
    write_gallery(str(tmp_path), empty)
    ((first, second),) = data(tmp_path, "groups")
    assert (first["items"], len(first["members"]), first["lowest"]) == (count, 24, 0.9)
    assert second["id"] == "h"
    files = data(tmp_path, "search")
    assert all(len(path.read_bytes()) < 300_000 for path in (tmp_path / "data").iterdir())
    entries = [entry for file in files for entry in file]
    of_group = entries[: next(at for at, entry in enumerate(entries) if len(entry) > 1) + 1]
    ids = [name for entry in of_group for name in entry[-1].split("\n")]
    assert ids == ["k", "near", *(f"copy-{number:09d}" for number in range(2, count))]
    assert entries[-1][-2:] == ["h", "other\no2"]


def test_what_is_held_is_a_fraction_of_what_is_written(tmp_path: Path) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, 12_000, 1_000):
            numbers = range(start, start + 1_000)
            columns = {
                "group_id": [f"g{number // 2}" for number in numbers],
                "item_id": [f"item-{number}" for number in numbers],
                "tier": [None, "phash"] * 500,
                "reason": ["r" * 290] * 1_000,
                "image_uri": ["u" * 290] * 1_000,
                "thumbnail": [b"\1" * 192] * 1_000,
            }
            yield pa.RecordBatch.from_pydict(columns)

    tracemalloc.start()
    try:
        write_gallery(str(tmp_path), GalleryContents({}, batches, (), (), (), lambda uri: None))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    written = sum(path.stat().st_size for path in (tmp_path / "data").iterdir())
    assert written > 10_000_000
    assert peak < 0.6 * written


def test_pages_of_large_groups_are_cut_by_their_weight(written: Write) -> None:
    long = "x" * 1_000
    rows = []
    for number in range(60):
        rows.append(member(f"g{number}", f"k{number}", reason=long, image_uri=long, label=long))
        rows += [
            dropped(f"g{number}", f"{number}-{at}", f"k{number}", "bytes", None, reason=long, label=long)
            for at in range(40)
        ]
    folder = written(Report(rows))
    assert sum(len(page) for page in data(folder, "groups")) == 60
    heaviest = max(path.stat().st_size for path in (folder / "data").iterdir())
    assets = sum(path.stat().st_size for path in (folder / "assets").iterdir())
    assert heaviest + assets + (folder / "groups.html").stat().st_size < 300_000


def test_pictures_are_stored_once_and_thumbnails_stand_for_the_others(written: Write) -> None:
    report = whole_report(groups=100, pictures=20)
    folder = written(report)
    pictures = files_below(folder / "pictures")
    assert sorted(pictures.values()) == sorted({webp(row["image_uri"]) for row in wanted_first(report)[:20]})
    sides = [side for page in data(folder, "pairs") for pair in page for side in pair["sides"]]
    assert [("picture" in side, "pixels" in side) for side in sides[:22]] == [(True, False)] * 20 + [(False, True)] * 2
    assert {side["picture"] for side in sides[:20]} == set(pictures)


def wanted_first(report: Report) -> list[dict[str, Any]]:
    """The images in the order in which a gallery asks for them: pairs come first."""
    sides = [{"image_uri": pair[f"{which}image_uri"]} for pair in report.uncertain for which in ("", "other_")]
    return [*sides, *report.placeholders, *report.rows]


def test_the_same_picture_under_many_addresses_is_one_file(tmp_path: Path) -> None:
    rows = [member("g", "k"), *(dropped("g", f"d{number}", "k", "bytes", None) for number in range(9))]
    one = webp("same")
    contents = GalleryContents({}, Report(rows).batches, (), (), (), lambda uri: one)
    write_gallery(str(tmp_path), contents)
    assert list(files_below(tmp_path / "pictures").values()) == [one]
    ((group,),) = data(tmp_path, "groups")
    assert len({each["picture"] for each in group["members"]}) == 1


@pytest.mark.parametrize("bad", [webp("large") + b"\0" * (64 << 10), b"<svg onload=alert(1)>", b""])
def test_a_picture_that_is_too_large_or_no_picture_is_left_out_and_told(tmp_path: Path, bad: bytes) -> None:
    contents = GalleryContents({}, Report([member("g", "k")]).batches, (), (), (), lambda uri: bad)
    told: list[str] = []
    write_gallery(str(tmp_path), contents, told.append)
    assert not (tmp_path / "pictures").exists()
    assert any("pictures left out" in line and line.endswith(": 1") for line in told)


def test_scripts_hold_no_markup_and_only_ascii_and_give_the_texts_back(written: Write) -> None:
    folder = written(hostile_report())
    for path in (folder / "data").iterdir():
        assert path.read_bytes().isascii()
        assert b"<" not in path.read_bytes()
    pairs = [[side["id"] for side in pair["sides"]] for page in data(folder, "pairs") for pair in page]
    assert pairs == [[text, HOSTILE[(at + 1) % len(HOSTILE)]] for at, text in enumerate(HOSTILE)]
    groups = [group["members"][0]["id"] for page in data(folder, "groups") for group in page]
    assert groups == list(HOSTILE)


def test_signatures_in_locations_are_not_shown(written: Write) -> None:
    signed = "https://user:secret@shop.example/a.jpg?X-Goog-Signature=secret"
    unreadable = [{"item_id": "u", "reason": "forbidden", "detail": f"403 of {signed}", "image_uri": signed}]
    report = Report(
        [member("g", "k", image_uri=signed), dropped("g", "d", "k", "bytes", None, image_uri=signed)],
        [{"item_id": "k", "other_item_id": "d", "image_uri": signed, "other_image_uri": signed}],
        [{"placeholder_id": "p", "items": 2, "item_id": "k", "image_uri": signed, "why": "empty"}],
        [],
        unreadable,
        summary={"settings": {"catalog": signed}},
    )
    files = files_below(written(report))
    assert not [name for name, content in files.items() if b"secret" in content]
    assert b"https://shop.example/a.jpg" in files["data/groups-000000.js"]


def test_scores_that_are_no_numbers_are_left_out(written: Write) -> None:
    rows = [member("g", "k"), *(dropped("g", str(each), "k", "phash", each) for each in (float("nan"), float("inf")))]
    folder = written(Report(rows, [{"item_id": "a", "other_item_id": "b", "score": float("nan")}], summary={"x": 1}))
    ((group,),) = data(folder, "groups")
    assert [each.get("score") for each in group["members"]] == [None] * 3
    ((pair,),) = data(folder, "pairs")
    assert "score" not in pair


def test_a_report_of_nothing_is_a_gallery_too(written: Write, tmp_path: Path) -> None:
    folder = written(Report([]))
    assert {path.name for path in folder.glob("*.html")} == {
        "index.html",
        "uncertain.html",
        "groups.html",
        "leakage.html",
        "placeholders.html",
        "conflicts.html",
        "unreadable.html",
    }
    assert not (folder / "data").exists()


def test_pages_are_counted(tmp_path: Path) -> None:
    told: list[str] = []
    report = many_groups(100)
    pages = write_gallery(str(tmp_path), report.contents(), told.append)
    assert pages == 5 + len(data(tmp_path, "groups")) + len(data(tmp_path, "pairs"))
    assert told == ["gallery: 100 groups on 3 pages, 100 pairs to review"]


def test_a_gallery_in_an_object_store_has_the_same_files(tmp_path: Path) -> None:
    report = whole_report(50)
    write_gallery(str(tmp_path), report.contents())
    write_gallery("memory://gallery-test/report", report.contents())
    local = files_below(tmp_path)
    stored = {
        url.split("gallery-test/report/")[1]: storage.read_bytes(url)
        for url in storage.list_files("memory://gallery-test/report")
    }
    assert stored == local


def test_a_file_that_cannot_be_stored_ends_the_writing_without_a_first_page(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(OSError, match="data"):
        write_gallery(str(tmp_path), many_groups(100).contents())
    assert not (tmp_path / "index.html").exists()
