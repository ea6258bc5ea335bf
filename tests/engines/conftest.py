"""The clusters that the tests of this folder run on, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.flink_cluster import FlinkCluster
from tests.engines.spark_cluster import SparkCluster

Cluster = FlinkCluster | SparkCluster


@pytest.fixture(scope="session", params=[SparkCluster, FlinkCluster], ids=["spark", "flink"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An engine with two workers, each a process of its own that starts Python workers of its own."""
    running = request.param(tmp_path_factory.mktemp("clusters") / request.param.name, workers=2)
    try:
        running.start()
        yield running
    finally:
        running.stop()
