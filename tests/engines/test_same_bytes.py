"""The same catalog on the local runner, on Spark and on Flink: the same snapshot and the same index, to the byte."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Finished, files_below
from tests.engines.conftest import Cluster
from tests.engines.jobs import embedded, published
from tests.pipelines.nights import INDEX, write_catalog, write_config


def config(folder: Path, **beam: Any) -> Path:
    return write_config(folder, "../catalog.csv", embed={"partitions": 8}, index=INDEX, **beam)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`before`: what a first night on the local runner left, the catalog having changed since: rows are new, gone,
    other or as they were, two have no picture, and one comes twice. `at-home`: the second night on it, on the local
    runner."""
    from commands.main import main

    folder = tmp_path_factory.mktemp("nights")
    write_catalog(folder, range(200))
    (folder / "before").mkdir()
    assert main(["nightly", "--config", str(config(folder / "before"))]) == 0
    catalog = write_catalog(folder, range(6, 212))
    pictures = folder / "pictures"
    (pictures / "31.png").write_bytes((pictures / "32.png").read_bytes())
    (pictures / "207.png").write_bytes(b"no picture")
    (pictures / "208.png").unlink()
    catalog.write_text(catalog.read_text() + "item-0209,pictures/209.png,9.5\n")
    shutil.copytree(folder / "before", folder / "at-home")
    assert main(["nightly", "--config", str(config(folder / "at-home"))]) == 0
    return folder


def test_a_night_on_an_engine_gives_the_bytes_of_the_local_runner(
    cluster: Cluster, nights: Path, cli: Callable[..., Finished]
) -> None:
    here, home = nights / cluster.name, nights / "at-home"
    shutil.copytree(nights / "before", here)
    started = len(cluster.worker.started())
    night = cli("nightly", "--config", config(here, engine=cluster.name, beam=cluster.beam_arguments()), "--json")
    assert night.code == 0, night.err
    assert len(cluster.worker.started()) >= started + 2  # The work was done in workers that the engine started.
    snapshots, files, rejects = embedded(here / "embeddings")
    assert (snapshots, files) == embedded(home / "embeddings")[:2]
    assert list(rejects.values()) == list(embedded(home / "embeddings")[2].values())
    assert published(here / "artifacts") == published(home / "artifacts")
    counts = snapshots["000002.json"]["counts"]
    assert {name: counts[name] for name in ("embedded", "reused", "rejected", "removed")} == {
        "embedded": 11,
        "reused": 193,
        "rejected": 3,
        "removed": 6,
    }


def test_a_report_of_duplicates_from_an_engine_is_that_of_the_local_runner(
    cluster: Cluster, nights: Path, cli: Callable[..., Finished]
) -> None:
    store, home, here = nights / "at-home" / "embeddings", nights / "duplicates", nights / f"duplicates-{cluster.name}"
    asked = ("dedupe", "--embeddings", store, "--keeper", "price:asc", "--assign-splits", "train=0.5,test=0.5")
    if not home.exists():
        assert cli(*asked, "--output", home).code == 0
    found = cli(*asked, "--output", here, "--json", "--engine", cluster.name, "--", *cluster.beam_arguments())
    assert found.code == 0, found.err
    assert found.json["dropped"] > 0
    assert files_below(here) == files_below(home)


def test_what_a_worker_refuses_is_said_in_one_sentence(
    cluster: Cluster, nights: Path, tmp_path: Path, cli: Callable[..., Finished]
) -> None:
    smaller, store = tmp_path / "smaller.csv", tmp_path / "embeddings"
    shutil.copytree(nights / "before" / "embeddings", store)
    smaller.write_text("\n".join((nights / "catalog.csv").read_text().splitlines()[:20]) + "\n")
    before = files_below(store / "snapshots")
    arguments = ("embed", "--catalog", smaller, "--images-root", nights, "--output", store)
    refused = cli(*arguments, "--engine", cluster.name, "--", *cluster.beam_arguments())
    assert refused.code == 1
    assert "--may-lose" in refused.err.strip().splitlines()[-1]
    assert "Traceback" not in refused.err
    assert files_below(store / "snapshots") == before
