"""Of two partitions under way in a worker, the images of one are read at a time, also when the other fails."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.source import CatalogSource
from encoders.image_encoder import ImageEncoder
from pipelines.embed import EmbedConfig
from tests.conftest import Catalog
from tests.pipelines.without_beam import embed_without_beam


@pytest.fixture
def config(make_catalog: Callable[..., Catalog], tmp_path: Path) -> EmbedConfig:
    source = CatalogSource((str(make_catalog(40).csv),))
    return EmbedConfig(source, str(tmp_path / "store"), "color-histogram", partitions=2, threads=1)


@pytest.mark.timeout(60)
def test_a_partition_that_fails_in_the_middle_of_its_images_gives_the_turn_to_the_other(
    config: EmbedConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, failed = threading.Lock(), threading.Event()
    encode_all = ImageEncoder.encode_all

    def one_fails(self: ImageEncoder, requests: Iterator[Any], meter: Any) -> Iterator[Any]:
        if first.acquire(blocking=False):
            assert failed.wait(30)
            yield from encode_all(self, requests, meter)
            return
        next(requests)
        failed.set()
        raise OSError("the disk is full")

    monkeypatch.setattr(ImageEncoder, "encode_all", one_fails)
    with pytest.raises(OSError, match="the disk is full"):
        embed_without_beam(config)


def test_the_next_partition_begins_when_all_images_of_this_one_are_under_way(
    config: EmbedConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    encode_all = ImageEncoder.encode_all

    def noted(self: ImageEncoder, requests: Iterator[Any], meter: Any) -> Iterator[Any]:
        def each() -> Iterator[Any]:
            for request in requests:
                asked.append(threading.current_thread().name)
                yield request

        return encode_all(self, each(), meter)

    monkeypatch.setattr(ImageEncoder, "encode_all", noted)
    assert embed_without_beam(config)["counts"]["embedded"] == 40
    assert len(set(asked)) == 2
    assert sum(one != other for one, other in itertools.pairwise(asked)) == 1
