"""Two nights of a catalog of vectors, indexed and published: what the commands that look at versions are tried on."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commands.main import main
from tests.index_builder.vectors import clustered


@dataclass(frozen=True)
class Nights:
    """Where the versions are, and their names.

    Attributes:
        flags: `--artifacts` and `--name`.
        root: ARTIFACTS/<name>.
        embeddings: the embedding store.
        first: the version of the first night, which prod was on.
        second: of the second, which prod and candidate are on: 10 of 2,500 items were removed, 20 came, and 5 of the
            others have another vector.
    """

    flags: tuple[str, ...]
    root: Path
    embeddings: Path
    first: str
    second: str

    def folder(self, version: str) -> Path:
        return self.root / "versions" / version


@pytest.fixture(scope="session")
def published_nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("nights")
    vectors = clustered(2_520, 16)
    later = vectors.copy()
    later[100:105] += 0.5
    for rows, drawn, label in ((range(2_500), vectors, "spring"), (range(10, 2_520), later, "summer")):
        chosen = drawn[np.array(rows)]
        table = {
            "item_id": [f"item-{row:05d}" for row in rows],
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(chosen.reshape(-1)), 16),
        }
        pq.write_table(pa.table(table), root / "vectors.parquet")
        store = ("--input", root / "vectors.parquet", "--metric", "cosine", "--output", root / "embeddings")
        assert main([str(each) for each in ("import-vectors", *store)]) == 0
        places = ("--embeddings", root / "embeddings", "--artifacts", root / "artifacts", "--name", "shop")
        index = ("index", *places, "--queries", "100", "--label", f"season={label}", "--count-drift", "0.5")
        assert main([str(each) for each in index]) == 0
    return root


@pytest.fixture
def nights(published_nights: Path, tmp_path: Path) -> Nights:
    """A copy of the artifacts, for a test of its own; all have the one embedding store."""
    shutil.copytree(published_nights / "artifacts", tmp_path / "artifacts")
    root = tmp_path / "artifacts" / "shop"
    first, second = sorted(path.name for path in (root / "versions").iterdir())
    flags = ("--artifacts", str(tmp_path / "artifacts"), "--name", "shop")
    return Nights(flags, root, published_nights / "embeddings", first, second)
