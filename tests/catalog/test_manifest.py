from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from catalog.errors import IntegrityError, UsageError
from catalog.manifest import Manifest, manifest_url, version_folder
from tests.conftest import REPOSITORY
from tests.index_builder.publishing.made_versions import stored_version

SCHEMAS = REPOSITORY / "catalog" / "schemas"
EXAMPLES = REPOSITORY / "tests" / "examples"


def valid(value: Any, schema: str) -> None:
    described = json.loads((SCHEMAS / f"{schema}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(described)
    checker = jsonschema.Draft202012Validator(described, format_checker=jsonschema.FormatChecker())
    assert [f"{error.json_path}: {error.message}" for error in checker.iter_errors(value)] == []


def stored_examples(pattern: str) -> list[str]:
    found = sorted(str(path.relative_to(EXAMPLES)) for path in EXAMPLES.glob(pattern))
    assert found, pattern
    return found


@pytest.mark.parametrize("example", stored_examples("**/manifest*.json"))
def test_stored_manifests_of_every_schema_version_are_valid_and_read(example: str) -> None:
    value = json.loads((EXAMPLES / example).read_bytes())
    valid(value, f"manifest.v{value['schema_version']}")
    manifest = Manifest.from_bytes((EXAMPLES / example).read_bytes(), example)
    assert manifest.vectors == value["vectors"]
    assert manifest.recall["10"] == value["recall"]["10"]
    assert [file.path for file in manifest.files] == [file["path"] for file in value["files"]]


@pytest.mark.parametrize("example", stored_examples("**/channels/*.json"))
def test_stored_channels_of_every_schema_version_are_valid(example: str) -> None:
    value = json.loads((EXAMPLES / example).read_bytes())
    valid(value, f"channel.v{value['schema_version']}")


@pytest.mark.parametrize("example", stored_examples("**/log/*.json"))
def test_stored_log_entries_are_valid(example: str) -> None:
    valid(json.loads((EXAMPLES / example).read_bytes()), "log.v1")


def test_the_schema_refuses_what_the_examples_do_not_show(tmp_path: Path) -> None:
    described = json.loads((SCHEMAS / "manifest.v1.json").read_text())
    value = json.loads((EXAMPLES / "manifest.v1.ivf.json").read_bytes())
    for broken in (
        {**value, "vectors": 0},
        {**value, "files": [{**value["files"][0], "sha256": "abc"}]},
        {**value, "files": [{**value["files"][0], "path": "../else"}]},
        {**value, "surprise": 1},
        {name: each for name, each in value.items() if name != "encoder"},
    ):
        assert not jsonschema.Draft202012Validator(described).is_valid(broken)


def test_a_manifest_is_read_as_it_was_written_and_a_newer_one_is_refused(tmp_path: Path) -> None:
    manifest = replace(
        stored_version(str(tmp_path), "v1"),
        parent="v0",
        needs=("v0",),
        labels={"team": "search"},
        pins=["holidays"],
        gates=[{"gate": "overlap", "passed": True}],
        counts={"input": 3},
    )
    assert Manifest.from_bytes(manifest.to_bytes(), "m") == manifest
    newer = json.loads(manifest.to_bytes())
    newer["schema_version"] = 99
    with pytest.raises(UsageError, match="m has schema version 99; this version of catalog-indexer reads 1 and 2"):
        Manifest.from_bytes(json.dumps(newer).encode(), "m")
    for damaged in (b'{"schema_version": 2}', b'{"schema_version": 1}', b"[]", b"{"):
        with pytest.raises((IntegrityError, UsageError)):
            Manifest.from_bytes(damaged, "m")


def test_a_manifest_lies_in_the_folder_of_its_version() -> None:
    assert manifest_url("r", "v") == "r/versions/v/manifest.json"
    assert version_folder("gs://b/r", "v") == "gs://b/r/versions/v"
