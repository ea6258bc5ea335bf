"""The same catalog on the local runner, on Spark and on Flink: the same snapshot and the same index, to the byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Finished, files_below
from tests.engines.conftest import Cluster
from tests.engines.jobs import embedded, published
from tests.pipelines.nights import INDEX, write_catalog, write_config


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 rows; of two nothing can be read, and one comes twice."""
    folder = tmp_path_factory.mktemp("catalog")
    path = write_catalog(folder, range(200))
    (folder / "pictures" / "7.png").write_bytes(b"no picture")
    (folder / "pictures" / "8.png").unlink()
    path.write_text(path.read_text() + "item-0009,pictures/9.png,9.5\n")
    return path


@pytest.fixture(scope="module")
def at_home(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A night on the local runner."""
    from commands.main import main

    folder = tmp_path_factory.mktemp("at-home")
    config = write_config(folder, str(catalog), embed={"partitions": 8}, index=INDEX)
    assert main(["nightly", "--config", str(config)]) == 0
    return folder


def test_a_night_on_an_engine_gives_the_bytes_of_the_local_runner(
    cluster: Cluster, catalog: Path, at_home: Path, tmp_path: Path, cli: Callable[..., Finished]
) -> None:
    config = write_config(
        tmp_path, str(catalog), embed={"partitions": 8}, index=INDEX, engine=cluster.name, beam=cluster.beam_arguments()
    )
    started = len(cluster.worker.started())
    night = cli("nightly", "--config", config, "--json")
    assert night.code == 0, night.err
    assert len(cluster.worker.started()) >= started + 2  # The work was done in workers that the engine started.
    snapshots, files, rejects = embedded(tmp_path / "embeddings")
    assert (snapshots, files) == embedded(at_home / "embeddings")[:2]
    assert list(rejects.values()) == list(embedded(at_home / "embeddings")[2].values())
    assert published(tmp_path / "artifacts") == published(at_home / "artifacts")
    counts = next(iter(snapshots.values()))["counts"]
    assert (counts["rows"], counts["embedded"], counts["rejected"]) == (201, 198, 3)
    # And the next night finds that nothing changed: nothing is encoded, built or written.
    before = files_below(tmp_path / "embeddings")
    again = cli("embed", "--catalog", catalog, "--output", tmp_path / "embeddings", "--json", "--engine", cluster.name,
                "--", *cluster.beam_arguments())  # fmt: skip
    assert again.code == 0, again.err
    assert (again.json["embedded"], again.json["reused"]) == (0, 198)
    assert files_below(tmp_path / "embeddings") == before


def test_what_a_worker_refuses_is_said_in_one_sentence(
    cluster: Cluster, catalog: Path, at_home: Path, tmp_path: Path, cli: Callable[..., Finished]
) -> None:
    smaller = tmp_path / "smaller.csv"
    smaller.write_text("\n".join(catalog.read_text().splitlines()[:20]) + "\n")
    before = files_below(at_home / "embeddings")
    arguments = ("embed", "--catalog", smaller, "--images-root", catalog.parent, "--output", at_home / "embeddings")
    refused = cli(*arguments, "--engine", cluster.name, "--", *cluster.beam_arguments())
    assert refused.code == 1
    assert "--may-lose" in refused.err.strip().splitlines()[-1]
    assert "Traceback" not in refused.err
    snapshots = {name for name in files_below(at_home / "embeddings") if name.startswith("snapshots/")}
    assert snapshots == {name for name in before if name.startswith("snapshots/")}
