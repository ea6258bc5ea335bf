"""What the README shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from index_builder.catalog_index import CatalogIndex
from tests.catalog.object_stores import gcs_server
from tests.conftest import REPOSITORY
from tests.index_builder.consuming.shops import upload
from tests.index_builder.vectors import clustered
from tests.index_builder.versions import publish_version


def test_the_five_lines_of_a_consumer_run_as_they_stand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "CatalogIndex" in block)
    vectors = clustered(400, 8)
    publish_version(tmp_path / "store", vectors, "l2", "IVF8,SQ8", {"nprobe": 8, "rerank": 4}, name="products")
    right = CatalogIndex.open(str(tmp_path / "store"), "products").search(vectors[5])
    with gcs_server(tmp_path) as bucket:
        assert bucket == "gs://bucket"
        upload(tmp_path / "store", f"{bucket}/artifacts")
        exec(example, {"vector": np.asarray(vectors[5])})
    assert len([line for line in example.splitlines() if line]) <= 5
    assert capsys.readouterr().out.splitlines() == [f"{each.rank} {each.score} {each.item_id}" for each in right]
