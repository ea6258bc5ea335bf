from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from catalog import storage
from catalog.errors import IntegrityError, UsageError
from catalog.manifest import manifest_url, read_manifest
from index_builder.publishing.marks import DELETING, Mark, change_marks, read_marks
from index_builder.publishing.pins import Pins, all_pins, pin, pins_of, pins_url, read_pins, unpin
from tests.catalog.test_manifest import EXAMPLES, valid
from tests.index_builder.publishing.made_versions import published_version

SINCE = "2026-01-01T00:00:00+00:00"


def test_a_pin_is_kept_with_its_reason_and_who_gave_it(tmp_path: Path) -> None:
    root = str(tmp_path)
    published_version(root, "v1", pins=["the build's"])
    manifest = read_manifest(root, "v1")
    assert pins_of(manifest, None).reasons == ["the build's"]
    assert all_pins(root) == {}
    pins = pin(root, manifest, " the audit ")
    assert pins.reasons == ["the build's", "the audit"]
    assert "@" in pins.pins[-1].by
    assert pin(root, manifest, "the audit") == pins == read_pins(root, "v1")[0]
    assert all_pins(root) == {"v1": pins}


def test_lifting_takes_all_pins_away_those_of_the_build_too_and_is_recorded(tmp_path: Path) -> None:
    root = str(tmp_path)
    published_version(root, "v1", pins=["the build's"])
    manifest = read_manifest(root, "v1")
    lifted = unpin(root, manifest, "it is over")
    assert (lifted.reasons, lifted.lifted and lifted.lifted.reason) == ([], "it is over")
    assert read_pins(root, "v1")[0] == lifted
    assert unpin(root, manifest, "again") == lifted
    assert pin(root, manifest, "the audit").reasons == ["the audit"]


def test_nothing_is_written_for_a_version_without_pins(tmp_path: Path) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    assert unpin(root, read_manifest(root, "v1")) == Pins()
    assert not storage.exists(pins_url(root, "v1"))


def test_a_pin_takes_the_collectors_mark_away_first_and_is_refused_where_it_comes_too_late(tmp_path: Path) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    manifest = read_manifest(root, "v1")
    change_marks(root, lambda marks: {"versions/v1": Mark(SINCE)})
    pin(root, manifest, "the audit")
    assert read_marks(root)[0] == {}
    change_marks(root, lambda marks: {"versions/v1": Mark(SINCE, DELETING)})
    with pytest.raises(UsageError, match="version v1 is being deleted by gc"):
        pin(root, manifest, "the summer")
    change_marks(root, lambda marks: {})
    storage.delete(manifest_url(root, "v1"))
    with pytest.raises(IntegrityError, match="version v1 was collected"):
        pin(root, manifest, "the summer")


def test_a_pin_without_a_reason_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    with pytest.raises(UsageError, match=r"a pin needs a --reason"):
        pin(root, read_manifest(root, "v1"), " ")
    storage.write(pins_url(root, "v1"), b'{"schema_version": 1}')
    with pytest.raises(IntegrityError, match=r"pins/v1.json is damaged"):
        all_pins(root)


def test_pins_of_many_at_once_are_all_kept(tmp_path: Path) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    manifest = read_manifest(root, "v1")
    threads = [threading.Thread(target=pin, args=(root, manifest, f"reason {number}")) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    stored = read_pins(root, "v1")[0]
    assert stored is not None
    assert sorted(stored.reasons) == [f"reason {number}" for number in range(8)]


def test_stored_and_written_pins_are_as_the_schema_says(tmp_path: Path) -> None:
    root = str(tmp_path)
    example = (EXAMPLES / "pins.v1.json").read_bytes()
    storage.write(pins_url(root, "000002-bcc587fca1"), example)
    stored = read_pins(root, "000002-bcc587fca1")[0]
    assert stored is not None
    assert (stored.reasons, stored.lifted and stored.lifted.reason) == (["the summer catalog"], "the audit is over")
    valid(json.loads(example), "pins.v1")
    published_version(root, "v1")
    for pins in (pin, unpin, pin):
        pins(root, read_manifest(root, "v1"), "the audit")
        valid(json.loads(storage.read_bytes(pins_url(root, "v1"))), "pins.v1")
