from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.commands.conftest import Nights
from tests.conftest import Finished

Cli = Callable[..., Finished]


def test_versions_are_told_newest_first_with_age_channels_labels_pins_and_state(nights: Nights, cli: Cli) -> None:
    assert cli("pin", *nights.flags, "--version", nights.first, "--reason", "the audit").code == 0
    lines = cli("versions", *nights.flags).out.splitlines()
    assert lines[0].split() == [
        *("version", "age", "vectors", "recall@10", "MB", "channels", "labels", "pinned", "state")
    ]
    assert [line.split()[0] for line in lines[1:]] == [nights.second, nights.first]
    assert "candidate, prod  season=summer  -          published" in lines[1]
    assert "-                season=spring  the audit  published" in lines[2]
    found = cli("versions", *nights.flags, "--json").json["versions"]
    assert [(each["version"], each["sequence"], each["state"]) for each in found] == [
        (nights.second, 2, "published"),
        (nights.first, 1, "published"),
    ]
    second, first = found
    assert (second["vectors"], second["channels"], second["labels"]) == (
        2_510,
        ["candidate", "prod"],
        {"season": "summer"},
    )
    assert (first["rollback_of"], first["pins"], first["channels"]) == (["candidate", "prod"], ["the audit"], [])
    assert second["bytes"] == sum(
        path.stat().st_size for path in nights.folder(nights.second).iterdir() if path.name != "manifest.json"
    )
    assert 0 <= second["age_seconds"] < 3_600
    assert (second["refused_by"], second["parent"]) == ([], nights.first)


def test_a_damaged_version_is_listed_as_damaged_and_a_collected_one_if_asked_for(nights: Nights, cli: Cli) -> None:
    path = nights.folder(nights.first) / "manifest.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    listed = cli("versions", *nights.flags)
    assert listed.code == 0
    assert listed.out.splitlines()[2].split() == [nights.first, "-", "-", "-", "-", "-", "-", "-", "damaged"]
    assert f"version {nights.first}: " in listed.err
    assert "manifest.json is damaged" in listed.err
    shutil.rmtree(nights.folder(nights.first))
    found = cli("versions", *nights.flags, "--json").json["versions"]
    assert [each["version"] for each in found] == [nights.second]
    found = cli("versions", *nights.flags, "--all", "--json").json["versions"]
    assert [(each["version"], each["state"]) for each in found][1] == (nights.first, "collected")
    assert nights.first in cli("versions", *nights.flags, "--all").out


def test_a_marked_version_is_told(nights: Nights, cli: Cli) -> None:
    mark = {"since": "2026-01-01T00:00:00+00:00", "state": "marked", "digest": ""}
    body = {"schema_version": 1, "marks": {f"versions/{nights.first}": mark}}
    (nights.root / "collection.json").write_text(json.dumps(body))
    states = {each["version"]: each["state"] for each in cli("versions", *nights.flags, "--json").json["versions"]}
    assert states == {nights.first: "marked", nights.second: "published"}


def test_a_damaged_channel_is_told_and_the_versions_are_listed_all_the_same(nights: Nights, cli: Cli) -> None:
    (nights.root / "channels" / "prod.json").write_text("{}")
    told = cli("versions", *nights.flags)
    assert told.code == 0, told.err
    assert [line.split()[0] for line in told.out.splitlines()[1:]] == [nights.second, nights.first]
    assert "channel prod: " in told.err
    assert "channels/prod.json is damaged" in told.err
    found = cli("versions", *nights.flags, "--json").json
    assert found["versions"][0]["channels"] == ["candidate"]
    assert list(found["damaged_channels"]) == ["prod"]
    assert "prod.json is damaged" in found["damaged_channels"]["prod"]
    assert cli("gc", *nights.flags, "--keep", 1, "--delete").code == 1


def test_nothing_published_is_said(cli: Cli, tmp_path: Path) -> None:
    for command in (("versions",), ("verify", "--all")):
        none = cli(*command, "--artifacts", tmp_path, "--name", "shop")
        assert none.code == 2
        assert "nothing is published there" in none.err
