from __future__ import annotations

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
    keep_build_from_collection,
    keep_from_collection,
    marks_url,
    read_marks,
)
from tests.catalog.test_manifest import EXAMPLES, valid
from tests.index_builder.publishing.made_versions import published_version

SINCE = "2026-01-01T00:00:00+00:00"


def test_stored_and_written_marks_are_as_the_schema_says(tmp_path: Path) -> None:
    root = str(tmp_path)
    example = (EXAMPLES / "collection.v1.json").read_bytes()
    valid(json.loads(example), "collection.v1")
    storage.write(marks_url(root), example)
    assert {path.split("/")[0]: mark.state for path, mark in read_marks(root)[0].items()} == {
        "codes": MARKED,
        "versions": DELETING,
        "work": MARKED,
    }
    change_marks(root, lambda marks: {**marks, "codebooks/1": Mark(SINCE)})
    valid(json.loads(storage.read_bytes(marks_url(root))), "collection.v1")
    assert len(read_marks(root)[0]) == 4


@pytest.mark.parametrize("since", ["some day", "2026-01-01T00:00:00", ""])
def test_a_mark_that_does_not_say_since_when_is_damaged(tmp_path: Path, since: str) -> None:
    change_marks(str(tmp_path), lambda marks: {"versions/v1": Mark(since)})
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
