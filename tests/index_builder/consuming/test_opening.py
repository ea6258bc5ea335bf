from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from catalog.errors import EncoderMismatchError, IntegrityError, UsageError
from index_builder import catalog_index
from index_builder.catalog_index import CatalogIndex
from index_builder.evaluation.golden import read_golden
from index_builder.searching.searcher import Searcher
from tests.conftest import REPOSITORY
from tests.index_builder.consuming.shops import DIMENSION, publish_shop

OWN, OTHER = "f" * 64, "0" * 64
BOTH = r"fingerprint 000000000000 is not the one that version v1 was made with \(tiny, fingerprint ffffffffffff\)"


def test_another_encoder_is_refused_when_the_version_is_opened_before_it_is_read(tmp_path: Path) -> None:
    publish_shop(tmp_path)
    CatalogIndex.open(str(tmp_path), "shop", encoder=OWN)
    (tmp_path / "shop/versions/v1/index.faiss").write_bytes(b"damaged")
    with pytest.raises(EncoderMismatchError, match=BOTH):
        CatalogIndex.open(str(tmp_path), "shop", encoder=OTHER)


def test_a_query_of_another_encoder_is_refused(tmp_path: Path) -> None:
    publish_shop(tmp_path)
    index = CatalogIndex.open(str(tmp_path), "shop")
    query = np.ones(DIMENSION)
    assert index.search(query, 3, encoder=OWN) == index.search(query, 3)
    with pytest.raises(UsageError, match=BOTH):
        index.search(query, 3, encoder=OTHER)
    with index.watch(every=1e6) as live, pytest.raises(UsageError, match=BOTH):
        live.search(query, 3, encoder=OTHER)


def test_a_version_that_answers_otherwise_than_when_it_was_evaluated_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_shop(tmp_path)
    publish_shop(tmp_path, "v2", seed=5)
    golden = read_golden(tmp_path / "shop/versions/v1/golden.npz")
    monkeypatch.setattr(catalog_index, "read_golden", lambda path: golden)
    CatalogIndex.open(str(tmp_path), "shop", version="v1")
    with pytest.raises(IntegrityError, match="version v2 answers otherwise than when it was evaluated: golden query 0"):
        CatalogIndex.open(str(tmp_path), "shop", version="v2")


def test_with_some_parts_open_the_golden_queries_are_asked_and_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_shop(tmp_path, index_parts=3)
    asked = []
    real = Searcher.search

    def search(self: Searcher, queries: np.ndarray, *args: object) -> object:
        asked.append(len(queries))
        return real(self, queries, *args)

    monkeypatch.setattr(Searcher, "search", search)
    CatalogIndex.open(str(tmp_path), "shop", parts=[1])
    assert asked == [32]
    CatalogIndex.open(str(tmp_path), "shop")
    assert asked == [32, 32]


def test_a_consumer_that_watches_needs_neither_beam_nor_tensorflow(tmp_path: Path) -> None:
    publish_shop(tmp_path)
    code = f"""
import sys
import numpy as np
from index_builder.catalog_index import CatalogIndex
with CatalogIndex.open({str(tmp_path)!r}, "shop", encoder={OWN!r}).watch(every=60) as live:
    assert len(live.search(np.ones({DIMENSION}), 3, encoder={OWN!r})) == 3
    live.poll()
    assert "catalog_indexer_polls_total" in live.metrics()
heavy = ("apache_beam", "tensorflow", "keras", "PIL", "threadpoolctl", "matplotlib", "openvino")
print(sorted(name for name in sys.modules if name.split(".")[0] in heavy))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
