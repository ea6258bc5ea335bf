"""A machine, and later a Python worker, are killed in the middle of `embed` and of `index`. The job, or the same
command again, ends in the bytes of an undisturbed one, and no more is done twice than what the killed were at."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from encoders.image_loader import WINDOW
from tests.conftest import start_cli
from tests.engines.conftest import Cluster
from tests.engines.jobs import embedded, published
from tests.engines.picture_server import PictureServer, picture_server

ROWS, PARTITIONS = 2_400, 16
INDEX = ("--factory", "IVF16,SQ8,RFlat", "--parts", 2, "--queries", 50)


@pytest.fixture(scope="module")
def pictures() -> Iterator[PictureServer]:
    with picture_server(seconds=0.1) as server:
        yield server


@pytest.fixture(scope="module")
def catalog(pictures: PictureServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "catalog.csv"
    rows = [f"item-{number:04d},{pictures.url(number)}" for number in range(ROWS)]
    path.write_text("\n".join(["item_id,image", *rows]) + "\n")
    return path


def embed(catalog: Path, folder: Path) -> tuple[object, ...]:
    flags = ("--partitions", PARTITIONS, "--allow-http", "--threads", 2)
    return ("embed", "--catalog", catalog, "--output", folder / "embeddings", *flags)


def index(folder: Path, store: Path) -> tuple[object, ...]:
    return (
        "index",
        "--embeddings",
        store / "embeddings",
        "--artifacts",
        folder / "artifacts",
        "--name",
        "shop",
        *INDEX,
    )


@pytest.fixture(scope="module")
def undisturbed(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both jobs give on the local runner."""
    from commands.main import main

    folder = tmp_path_factory.mktemp("undisturbed")
    assert main([str(each) for each in embed(catalog, folder)]) == 0
    assert main([str(each) for each in index(folder, folder)]) == 0
    return folder


def kill_a_worker(cluster: Cluster) -> None:
    """The Python process that does the work of one worker."""
    assert cluster.worker.kill_one()


def kill_a_machine(cluster: Cluster) -> None:
    """A worker of the engine (of Flink a task manager) with all that it started; another one takes its place."""
    cluster.kill_worker()
    cluster.start_worker()


def disturbed(cluster: Cluster, command: tuple[object, ...], moments: Sequence[Callable[[], bool]]) -> int:
    """Runs a command, kills a machine at the first moment and a worker at the second, and runs it again where it did
    not get over that. Returns how many workers had to begin anew: on Spark those that were killed; on Flink, and where
    the command was run again, all."""
    on_engine = (*command, "--engine", cluster.name, "--", *cluster.beam_arguments())
    lost = 1 if cluster.name == "spark" else cluster.workers
    anew, process = 0, start_cli(*on_engine)
    for now, kill in zip(moments, (kill_a_machine, kill_a_worker), strict=True):
        deadline = time.monotonic() + 300
        while not now():
            assert time.monotonic() < deadline
            if process.poll() is not None:
                assert anew, process.communicate()[1]
                assert process.returncode != 0
                anew += cluster.workers - lost
                process = start_cli(*on_engine)
            time.sleep(0.02)
        kill(cluster)
        anew += lost
    _, said = process.communicate(timeout=300)
    if process.returncode != 0:
        anew += cluster.workers - lost
        again = start_cli(*on_engine)
        _, said = again.communicate(timeout=300)
        assert again.returncode == 0, said
    return anew


def test_embed_loses_and_doubles_nothing_and_redoes_a_partition_a_worker(
    cluster: Cluster, pictures: PictureServer, catalog: Path, undisturbed: Path, tmp_path: Path
) -> None:
    pictures.reads.clear()

    def committed(partitions: int) -> Callable[[], bool]:
        return lambda: len(list(tmp_path.glob("embeddings/runs/*/commits/*.json"))) >= partitions

    moments = [committed(PARTITIONS // 4), committed(PARTITIONS // 2)]
    anew = disturbed(cluster, embed(catalog, tmp_path), moments)
    assert embedded(tmp_path / "embeddings") == embedded(undisturbed / "embeddings")
    again = sum(pictures.reads.values()) - ROWS
    snapshot = next(iter(embedded(undisturbed / "embeddings")[0].values()))
    largest = max(entry["rows"] for entry in snapshot["files"])
    assert 0 <= again <= anew * (largest + WINDOW)


@contextlib.contextmanager
def rewritten(folder: Path) -> Iterator[set[Path]]:
    """The files below `folder` that are written more than once while the body runs."""
    seen: dict[Path, int] = {}
    twice: set[Path] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            for path in folder.glob("*/*/*"):
                with contextlib.suppress(OSError):
                    if seen.setdefault(path, path.stat().st_ino) != path.stat().st_ino:
                        twice.add(path)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield twice
    finally:
        over.set()
        watcher.join()


def test_index_ends_in_the_same_bytes_and_stores_no_unit_twice(
    cluster: Cluster, undisturbed: Path, tmp_path: Path
) -> None:
    work = tmp_path / "artifacts" / "shop" / "work"
    moments = [lambda: any(work.glob("*/training.json")), lambda: any(work.glob("*/files/*"))]
    with rewritten(work) as twice:
        disturbed(cluster, index(tmp_path, undisturbed), moments)
    assert published(tmp_path / "artifacts") == published(undisturbed / "artifacts")
    assert not twice
