from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from catalog import storage
from catalog.errors import IntegrityError, UsageError
from index_builder.publishing.marks import (
    DELETING,
    MARKED,
    Mark,
    change_marks,
    hold,
    keep_build_from_collection,
    keep_from_collection,
    marks_url,
    read_marks,
    release,
)
from tests.catalog.test_manifest import EXAMPLES, valid
from tests.index_builder.publishing.made_versions import published_version

SINCE = "2026-01-01T00:00:00+00:00"
OWNER = "9f86d081884c7d65"


def at(minute: int) -> datetime.datetime:
    return datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC) + datetime.timedelta(minutes=minute)


@pytest.mark.parametrize("schema", ["collection.v1", "collection.v2"])
def test_stored_and_written_marks_are_as_the_schema_says(tmp_path: Path, schema: str) -> None:
    root = str(tmp_path)
    example = (EXAMPLES / f"{schema}.json").read_bytes()
    valid(json.loads(example), schema)
    storage.write(marks_url(root), example)
    assert {path.split("/")[0]: mark.state for path, mark in read_marks(root)[0].items()} == {
        "codes": MARKED,
        "versions": DELETING,
        "work": MARKED,
    }
    new = {"codebooks/1": Mark(SINCE), "codebooks/2": Mark(SINCE).deleting(OWNER, at(0))}
    change_marks(root, lambda marks: {**marks, **new})
    valid(json.loads(storage.read_bytes(marks_url(root))), "collection.v2")
    assert len(read_marks(root)[0]) == 5
    assert {path: mark for path, mark in read_marks(root)[0].items() if path in new} == new


def test_an_owner_holds_and_releases_only_what_is_its_own_and_says_that_it_is_there(tmp_path: Path) -> None:
    root = str(tmp_path)
    mine, other = Mark(SINCE).deleting(OWNER, at(0)), Mark(SINCE).deleting("0" * 16, at(0))
    change_marks(root, lambda marks: {"versions/v1": mine, "versions/v2": other, "versions/v3": Mark(SINCE)})
    paths = [f"versions/v{number}" for number in range(5)]
    before = storage.read_bytes(marks_url(root))
    assert hold(root, paths, OWNER, at(4)) == {"versions/v1"}
    assert storage.read_bytes(marks_url(root)) == before
    assert hold(root, paths, OWNER, at(50)) == {"versions/v1"}
    marks = read_marks(root)[0]
    assert {path: mark.is_free(at(61)) for path, mark in marks.items() if mark.owner} == {
        "versions/v1": False,
        "versions/v2": True,
    }
    assert marks["versions/v1"].is_free(at(111))
    release(root, paths, OWNER)
    assert set(read_marks(root)[0]) == {"versions/v2", "versions/v3"}


@pytest.mark.parametrize(
    "mark",
    [Mark("some day"), Mark("2026-01-01T00:00:00"), Mark(""), Mark(SINCE, DELETING, "", OWNER, "2026-01-01T00:00:00")],
)
def test_a_mark_that_does_not_say_since_when_is_damaged(tmp_path: Path, mark: Mark) -> None:
    change_marks(str(tmp_path), lambda marks: {"versions/v1": mark})
    with pytest.raises(IntegrityError, match=r"collection.json is damaged"):
        read_marks(str(tmp_path))


def test_taking_a_mark_away_writes_only_where_there_is_one(tmp_path: Path) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    keep_from_collection(root, "v1")
    keep_build_from_collection(root, "v1")
    assert not storage.exists(marks_url(root))
    change_marks(root, lambda marks: {"versions/v1": Mark(SINCE), "work/v1": Mark(SINCE), "versions/v2": Mark(SINCE)})
    keep_from_collection(root, "v1")
    assert set(read_marks(root)[0]) == {"work/v1", "versions/v2"}
    keep_build_from_collection(root, "v1")
    assert set(read_marks(root)[0]) == {"versions/v2"}


@pytest.mark.parametrize("path", ["versions/v1", "work/v1"])
def test_a_build_whose_remains_are_being_deleted_does_not_go_on(tmp_path: Path, path: str) -> None:
    change_marks(str(tmp_path), lambda marks: {path: Mark(SINCE, DELETING)})
    with pytest.raises(UsageError, match="version v1 is being deleted by gc; build it anew when gc is through"):
        keep_build_from_collection(str(tmp_path), "v1")
