from __future__ import annotations

import datetime
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.channel import read_channel, write_channel
from catalog.manifest import manifest_url
from index_builder.publishing.checkup import check_up
from index_builder.publishing.collect import collect
from index_builder.publishing.diff import diff
from index_builder.publishing.listing import list_versions
from index_builder.publishing.marks import DELETING, Mark, change_marks
from index_builder.publishing.promote import move, promote, rollback
from index_builder.publishing.reachable import Retention
from index_builder.publishing.verdict import Thresholds, Verdict
from index_builder.publishing.verify import find_version
from tests.conftest import REPOSITORY
from tests.index_builder.publishing.made_versions import published_version

NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
REFUSED = Verdict("overlap", False, 0.3, 0.5, "")


def states(root: Path) -> dict[str, str]:
    found = list_versions(str(root.parent), root.name, collected=True, now=NOW).versions
    return {each["version"]: each["state"] for each in found}


def test_a_refused_version_is_told_until_somebody_forces_it(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    published_version(str(root), "v1")
    pointer = published_version(str(root), "v2", "candidate-only", gates=[REFUSED.to_json()])
    (root / "channels" / "candidate-only.json").unlink()
    assert states(root) == {"v2": "refused", "v1": "published"}
    assert list_versions(str(tmp_path), "shop").versions[0]["refused_by"] == ["overlap"]
    move(str(root), read_channel(str(root), "prod"), pointer, [])
    assert states(root) == {"v2": "published", "v1": "published"}


@pytest.mark.parametrize("moves_kept", [0, 50])
def test_a_version_that_was_once_forced_is_not_called_refused(tmp_path: Path, moves_kept: int) -> None:
    root = str(tmp_path / "shop")
    published_version(root, "v1")
    pointer = published_version(root, "v2", None, gates=[REFUSED.to_json()])
    promote(root, pointer, "candidate", Thresholds(), {})
    assert states(tmp_path / "shop") == {"v2": "refused", "v1": "published"}
    move(root, read_channel(root, "prod"), pointer, [])
    if moves_kept:
        rollback(root, "prod")
        assert "v2" not in {each.version for each in read_channel(root, "prod").earlier}
    else:
        published_version(root, "v3")
        there = read_channel(root, "prod")
        write_channel(root, replace(there, moves=()))
        assert {each.version for each in there.earlier} == {"v1", "v2"}
    assert states(tmp_path / "shop")["v2"] == "published"


def test_every_state_is_told(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    for number in range(1, 6):
        published_version(str(root), f"v{number}", labels={"night": str(number)})
    since = "2026-01-01T00:00:00+00:00"
    change_marks(str(root), lambda marks: {"versions/v1": Mark(since), "versions/v2": Mark(since, DELETING)})
    Path(manifest_url(str(root), "v3")).write_text("{}")
    shutil.rmtree(root / "versions" / "v4")
    assert states(root) == {"v5": "published", "v4": "collected", "v3": "damaged", "v2": "deleting", "v1": "marked"}
    newest = list_versions(str(tmp_path), "shop", now=NOW).versions[0]
    assert (newest["age_seconds"], newest["labels"], newest["channels"]) == (
        86_400.0,
        {"night": "5"},
        ["candidate", "prod"],
    )


def test_a_version_that_was_built_again_is_listed_once(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    published_version(str(root), "v1")
    published_version(str(root), "v2")
    shutil.rmtree(root / "versions" / "v1")
    published_version(str(root), "v1", created_at="2026-01-01T12:00:00+00:00")
    found = list_versions(str(tmp_path), "shop", now=NOW).versions
    assert [(each["version"], each["sequence"], each["age_seconds"]) for each in found] == [
        ("v1", 3, 43_200.0),
        ("v2", 2, 86_400.0),
    ]


def test_versions_of_the_first_schema_are_listed_compared_checked_and_kept(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "tests" / "examples" / "artifacts-v1", tmp_path / "artifacts")
    root = tmp_path / "artifacts" / "shop"
    (old,) = (path.name for path in (root / "versions").iterdir())
    assert states(root) == {old: "published"}
    same = diff(str(root), old, "prod")
    assert same.items is not None
    assert (same.items.added, same.items.removed, same.items.changed) == (0, 0, 0)
    assert all(line.same for line in same.lines)
    assert [each.says for each in check_up(str(root), find_version(str(root)), deep=True) if not each.ok] == []
    far = datetime.datetime(2040, 1, 1, tzinfo=datetime.UTC)
    assert [each.step for each in collect(str(root), Retention(keep=1), True, lambda: far)] == ["stay"]
