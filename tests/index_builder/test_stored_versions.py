"""Versions that earlier releases published, stored with the tests: today's reader opens them, today's publisher judges
them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from catalog.channel import read_channel
from index_builder.catalog_index import CatalogIndex
from index_builder.publishing.listing import list_versions
from index_builder.publishing.promote import Request, promote
from index_builder.publishing.verdict import GATES
from index_builder.publishing.verify import find_version, verify
from tests.conftest import REPOSITORY

STORED = ("artifacts-v1", "artifacts-v2")


@pytest.fixture(params=STORED)
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A copy of what a release wrote."""
    shutil.copytree(REPOSITORY / "tests" / "examples" / request.param, tmp_path / "artifacts")
    return str(tmp_path / "artifacts")


def test_a_stored_version_is_intact_opens_and_answers_as_when_it_was_published(artifacts: str) -> None:
    root = f"{artifacts}/shop"
    verify(root, find_version(root))
    index = CatalogIndex.open(artifacts, "shop")
    assert index.manifest.vectors == 40
    assert index.check() == []
    for item_id in ("0", "17", "39"):
        matches = index.search_item(item_id, 5)
        assert (matches[0].item_id, len(matches)) == (item_id, 5)


def test_a_stored_version_is_listed_and_can_be_promoted(artifacts: str) -> None:
    root = f"{artifacts}/shop"
    assert "prod" in [
        channel for version in list_versions(artifacts, "shop").versions for channel in version["channels"]
    ]
    pointer = find_version(root)
    promotion = promote(root, pointer, Request("canary"))
    assert promotion.refused == []
    assert [each.gate for each in promotion.verdicts] == list(GATES)
    assert read_channel(root, "canary").pointer == pointer


def test_the_stored_channel_of_schema_version_2_has_gone_back() -> None:
    channel = read_channel(str(REPOSITORY / "tests" / "examples" / "artifacts-v2" / "shop"), "prod")
    assert channel.pointer is not None
    assert [move.action for move in channel.moves] == ["promote", "promote", "rollback"]
    assert channel.taken_back(channel.moves[1].version) is not None
