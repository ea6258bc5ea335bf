"""The clusters that the tests of this folder run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.flink_cluster import FlinkCluster
from tests.engines.spark_cluster import SparkCluster

Cluster = FlinkCluster | SparkCluster


@pytest.fixture(scope="session", autouse=True)
def own_web_server() -> Iterator[None]:
    """Images may be read from loopback, where the tests serve them; workers have the environment of their cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATALOG_HTTP_ALLOW_PRIVATE", "1")
        yield


@pytest.fixture(scope="session", params=[SparkCluster, FlinkCluster], ids=["spark", "flink"])
def cluster(
    request: pytest.FixtureRequest, own_web_server: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """An engine with two workers, each a process of its own that starts Python workers of its own."""
    running = request.param(tmp_path_factory.mktemp("clusters") / request.param.name, workers=2)
    try:
        running.start()
        yield running
    finally:
        running.stop()
