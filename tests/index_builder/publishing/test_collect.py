from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog import storage
from catalog.channel import channel_url, read_channel
from catalog.errors import IntegrityError
from catalog.manifest import manifest_url, read_manifest
from index_builder.assembly.code_files import codes_url
from index_builder.publishing.collect import Fate, collect
from index_builder.publishing.marks import DELETING, Mark, change_marks, read_marks
from index_builder.publishing.pins import pin, pins_of, read_pins, unpin
from index_builder.publishing.promote import move
from index_builder.publishing.reachable import DAY, Retention
from tests.catalog.object_stores import gcs_server, s3_server
from tests.index_builder.publishing import collected_store
from tests.index_builder.publishing.collected_store import (
    KEEP_ONE,
    REACHABLE,
    ROOT,
    PiecewiseStore,
    check_whole,
    embedding_file,
    fill,
    goes,
    later,
)
from tests.index_builder.publishing.made_versions import published_version


def gc(day: float, retention: Retention = KEEP_ONE, delete: bool = True) -> dict[str, Fate]:
    fates = collect(ROOT, retention, delete, lambda: later(day))
    return {f"{each.path} {each.step}" if each.kind == "codes" else each.path: each for each in fates}


def test_without_delete_nothing_is_written_and_everything_is_told(store: PiecewiseStore) -> None:
    before = dict(store.objects)
    fates = gc(0, delete=False)
    assert store.objects == before
    told = {path: (fate.step, fate.why, fate.until) for path, fate in fates.items() if fate.kind == "version"}
    day = "2026-03-02T00:00:00+00:00"
    assert told == {
        "versions/v0": ("mark", (), day),
        "versions/v1": ("mark", (), day),
        "versions/v2": ("stay", ("needed by v3",), None),
        "versions/v3": ("stay", ("pin: the audit",), None),
        "versions/v4": ("stay", ("rollback of prod",), None),
        "versions/v5": ("stay", ("channel canary", "rollback of candidate", "channel prod"), None),
        "versions/v6": ("stay", ("channel candidate", "newest 1"), None),
    }
    build = fates["work/v9"]
    assert (build.step, build.files, build.until) == ("mark", 6, "2026-03-08T00:00:00+00:00")
    for path, fate in fates.items():
        if fate.kind in ("version", "build") or fate.step != "stay":
            below = (f"{path.split()[0]}/", "versions/v9/" if fate.kind == "build" else "?")
            files = [name for name in store.names() if name.startswith(below)]
            if path == "codes/new mark":
                files = [codes_url("", "new", embedding_file(7))[1:]]
            assert fate.files == len(files)
            assert fate.bytes == sum(len(store.objects[f"{ROOT}/{name}"][0]) for name in files), path


def test_a_dry_run_says_what_a_run_would_do(store: PiecewiseStore) -> None:
    for day in (0, 0.5, 1, 7, 8):
        wanted = gc(day, delete=False)
        done = gc(day)
        assert {path.split()[0] for path in wanted} == {path.split()[0] for path in done}
        steps = {path: fate.step.replace("deleted", "delete") for path, fate in done.items() if fate.kind != "codes"}
        # What a build may use goes with the build, but a dry run does not delete the build.
        assert {path: fate.step for path, fate in wanted.items() if fate.kind != "codes"} == steps, day


def test_a_young_version_and_one_in_the_newest_are_not_marked(store: PiecewiseStore) -> None:
    assert gc(0, Retention(keep=1, young=10_000 * DAY))["versions/v0"].why == ("young",)
    assert gc(0, Retention(keep=9))["versions/v0"].why == ("newest 9",)
    assert set(read_marks(ROOT)[0]) == {"work/v9", codes_url("", "new", embedding_file(7))[1:]}


def test_what_becomes_needed_loses_its_mark_and_waits_anew_when_it_is_not_needed_any_more(
    store: PiecewiseStore,
) -> None:
    gc(0)
    manifest = read_manifest(ROOT, "v0")
    pin(ROOT, manifest, "the summer")
    assert gc(1)["versions/v0"].why == ("pin: the summer",)
    unpin(ROOT, manifest)
    assert gc(1.5)["versions/v0"].until == later(2.5).isoformat()
    assert gc(2)["versions/v0"].step == "wait"
    assert gc(2.5)["versions/v0"].step == "deleted"


def test_a_build_that_goes_on_waits_anew_and_the_codes_wait_for_it(store: PiecewiseStore) -> None:
    gc(0)
    storage.write(f"{ROOT}/work/v9/truth/000004-000008.arrow", b"work")
    fates = gc(7)
    assert (fates["work/v9"].step, fates["work/v9"].until) == ("mark", later(14).isoformat())
    assert (fates["codebooks/old"].step, fates["codes/old wait"].step) == ("wait", "wait")
    assert fates["codebooks/old"].why == ("a build may be under way that uses it",)
    fates = gc(14)
    assert (fates["work/v9"].step, fates["codebooks/old"].step, fates["codes/old deleted"].files) == (
        "deleted",
        "deleted",
        3,
    )


def test_what_a_published_version_has_left_of_its_build_goes_and_the_version_stays(store: PiecewiseStore) -> None:
    storage.write(f"{ROOT}/work/v5/training.json", b"work")
    gc(0)
    gc(7)
    assert not any(name.startswith(("work/", "codes/old/")) for name in store.names())
    check_whole(REACHABLE)


def test_codes_of_a_version_that_does_not_say_what_it_is_made_of_stay(store: PiecewiseStore) -> None:
    data = store.objects[f"{ROOT}/versions/v4/source.json"]
    store.objects[f"{ROOT}/versions/v4/source.json"] = (data[0][:-5], 999)
    fates = gc(0)
    assert "codes/new mark" not in fates
    assert fates["codes/old mark"].files == 3


def test_a_damaged_version_is_kept_and_told(store: PiecewiseStore) -> None:
    data, number = store.objects[f"{ROOT}/versions/v0/manifest.json"]
    store.objects[f"{ROOT}/versions/v0/manifest.json"] = (data.replace(b'"vectors": 1000', b'"vectors": 1001'), number)
    fate = gc(0)["versions/v0"]
    assert fate.step == "stay"
    assert "versions/v0/manifest.json is damaged: its sha256 is not the published one" in fate.why[0]
    for day in (1, 9):
        gc(day)
    assert f"{ROOT}/versions/v0/manifest.json" in store.objects
    assert f"{ROOT}/versions/v1/manifest.json" not in store.objects  # It is newer, so v0 cannot need it.


@pytest.mark.parametrize("damaged", ["channels/prod.json", "pins/v3.json", "log/000002.json", "collection.json"])
def test_where_it_cannot_know_what_is_needed_nothing_is_deleted(store: PiecewiseStore, damaged: str) -> None:
    gc(0)
    store.objects[f"{ROOT}/{damaged}"] = (b"{}", 999)
    before = dict(store.objects)
    with pytest.raises(IntegrityError, match=rf"{damaged} is damaged"):
        gc(9)
    assert store.objects == before


def test_what_another_collector_is_deleting_is_not_given_back_for_another_retention(store: PiecewiseStore) -> None:
    change_marks(ROOT, lambda marks: {"versions/v1": Mark(later(-9).isoformat(), DELETING)})
    assert gc(0, Retention(keep=9, young=10_000 * DAY))["versions/v1"].step == "deleted"


def test_a_version_that_is_built_again_knows_nothing_of_its_pins(store: PiecewiseStore) -> None:
    manifest = read_manifest(ROOT, "v0")
    pin(ROOT, manifest, "the summer")
    unpin(ROOT, manifest)
    for day in (0, 1):
        gc(day)
    assert read_pins(ROOT, "v0")[0] is None
    pointer = published_version(ROOT, "v0", None, pins=["the build's"], created_at=later(2).isoformat())
    assert pins_of(read_manifest(ROOT, "v0"), read_pins(ROOT, "v0")[0]).reasons == ["the build's"]
    move(ROOT, read_channel(ROOT, "prod"), pointer, [])
    for day in (2, 3, 9):
        gc(day)
    check_whole({"v0", "v5"})


def test_marks_are_bounded(store: PiecewiseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index_builder.publishing.collect._MARKED_CODES", 2)
    gc(0)
    assert sum(path.startswith("codes/") for path in read_marks(ROOT)[0]) == 2
    for day in (7, 8, 9, 10):
        gc(day)
    assert not any(goes(name) for name in store.names())


@pytest.mark.parametrize("server", [None, gcs_server, s3_server], ids=["local", "gs", "s3"])
def test_real_stores_are_collected(server: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def local(folder: Path) -> Iterator[str]:
        yield str(folder)

    with (server or local)(tmp_path) as bucket:  # type: ignore[operator]
        root = f"{bucket}/artifacts/shop"
        monkeypatch.setattr(collected_store, "ROOT", root)
        fill()
        before = {url.removeprefix(f"{root}/") for url in storage.list_files(root)}
        for day in (0, 1, 7):
            collect(root, KEEP_ONE, True, lambda day=day: later(day))
            check_whole(REACHABLE)
        after = {url.removeprefix(f"{root}/") for url in storage.list_files(root)}
        assert before - after == {name for name in before if goes(name)}
        assert after - before == {"collection.json"}
        assert storage.exists(channel_url(root, "prod"))
        assert not storage.exists(manifest_url(root, "v0"))
        if server is None:
            assert not (tmp_path / "artifacts" / "shop" / "versions" / "v0").exists()
