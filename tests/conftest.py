"""Fixtures for all rooms: pictures that the tests draw, small models that they make, and what may be absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

# OpenMP's threads wait by spinning, which takes the core of another process of the same run; the bytes are the same.
# Read when FAISS is imported, and inherited by what the tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

REPOSITORY = Path(__file__).resolve().parents[1]


def absent(what: str) -> None:
    """Skips a test for want of something, with a message; where nothing may be missing, fails it instead."""
    if os.environ.get("CATALOG_NO_SKIPS"):
        pytest.fail(f"{what} is missing, and CATALOG_NO_SKIPS is set")
    pytest.skip(f"{what} is missing on this machine")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests download is not kept in the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATALOG_INDEXER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photos and a real encoder beside the project."""
    path = Path(os.environ.get("CATALOG_SHARED", REPOSITORY.parent / "shared"))
    if not (path / "data").is_dir():
        absent(f"the folder of shared test data ({path}, or $CATALOG_SHARED)")
    return path


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The object on the last line of its output."""
        return json.loads(self.out.strip().splitlines()[-1])


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Runs `catalog-indexer` in this process."""
    from commands.main import main

    def run(*arguments: object) -> Finished:
        capfd.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return Finished(code, out, err)

    return run


def start_cli(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Starts `catalog-indexer` in a process of its own."""
    command = [sys.executable, "-m", "commands.main", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


def draw_picture(seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A picture of a few coloured rectangles, another one for each seed."""
    rng = np.random.default_rng(seed)
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    pixels[:] = rng.integers(0, 256, 3)
    for _ in range(4):
        top, left = rng.integers(0, size[1] - 4), rng.integers(0, size[0] - 4)
        pixels[top : top + rng.integers(4, 24), left : left + rng.integers(4, 24)] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels)


@dataclass(frozen=True)
class Catalog:
    """A catalog that a test made."""

    csv: Path
    ids: list[str]

    def rewrite(self, lines: list[str]) -> None:
        """Other rows under the same header."""
        header = self.csv.read_text().splitlines()[0]
        self.csv.write_text("\n".join([header, *lines]) + "\n")

    @property
    def lines(self) -> list[str]:
        """The rows, without the header."""
        return self.csv.read_text().splitlines()[1:]


def draw_catalog(folder: Path, count: int) -> Catalog:
    """Makes a folder with `count` pictures and a CSV of them: item_id, image, product_id, price, label."""
    (folder / "pictures").mkdir(parents=True)
    ids, lines = [], ["item_id,image,product_id,price,label"]
    for number in range(count):
        item_id = f"item-{number:04d}"
        draw_picture(number).save(folder / "pictures" / f"{number}.png")
        ids.append(item_id)
        lines.append(f"{item_id},pictures/{number}.png,p{number // 3},{number}.5,label {number % 5}")
    csv = folder / "catalog.csv"
    csv.write_text("\n".join(lines) + "\n")
    return Catalog(csv, ids)


@pytest.fixture
def make_catalog(tmp_path: Path) -> Callable[..., Catalog]:
    """Makes a catalog of `count` pictures in a folder of the test."""
    return lambda count, folder="catalog": draw_catalog(tmp_path / folder, count)


@pytest.fixture(scope="session")
def tiny_saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel of the TF-Hub image feature vector kind: float32 [n, 32, 32, 3] in [0, 1] to [n, 24]."""
    from encoders.tensorflow_import import tensorflow

    tf = tensorflow()

    class Features(tf.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            rng = np.random.default_rng(7)
            self.kernel = tf.Variable(rng.normal(size=(8, 8, 3, 24)).astype(np.float32) * 0.1)

        @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.float32)])
        def __call__(self, images: Any) -> Any:
            features = tf.nn.relu(tf.nn.conv2d(images - 0.5, self.kernel, strides=4, padding="SAME"))
            return tf.reduce_mean(features, axis=[1, 2]) + 0.01

    path = tmp_path_factory.mktemp("models") / "tiny"
    tf.saved_model.save(Features(), str(path))
    return path


def snapshots_of(store: Path) -> dict[str, dict]:
    """Every snapshot of a store by file name, without what the run cost in seconds, which no run repeats."""
    found = {path.name: json.loads(path.read_bytes()) for path in sorted((store / "snapshots").iterdir())}
    for snapshot in found.values():
        for name in [name for name in snapshot["cost"] if name.endswith("_seconds")]:
            del snapshot["cost"][name]
    return found


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones left out, by relative name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
