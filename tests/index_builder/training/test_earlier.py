from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from catalog.manifest import artifact_root, read_manifest
from index_builder.planning.factory import parse_factory
from index_builder.training.earlier import keep_lists
from tests.index_builder.vectors import clustered
from tests.index_builder.versions import publish_version


@pytest.mark.parametrize(("noted", "links"), [({}, 0), ({"hnsw_links": 8}, 8)])
def test_lists_of_an_earlier_version_are_kept_whether_its_plan_knew_graphs_or_not(
    tmp_path: Path, noted: dict[str, int], links: int
) -> None:
    publish_version(tmp_path, clustered(400, 8), "cosine", "IVF16,SQ8", {"nprobe": 1, "rerank": 0})
    manifest = read_manifest(artifact_root(str(tmp_path), "shop"), "v1")
    earlier = replace(manifest, index={"factory": "IVF16,SQ8", "lists": 16, **noted})
    planned = parse_factory("IVF24,SQ8", 2_000, 8, "cosine")
    kept = keep_lists(planned, earlier, 2_000)
    assert (kept.lists, kept.hnsw_links) == (16, links)
    assert kept.factory == ("IVF16_HNSW8,SQ8" if links else "IVF16,SQ8")
    assert kept.why == f"{planned.why}; 16 lists as before"
