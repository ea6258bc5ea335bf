"""A store of small pictures with copies and edits of them, and the stages of a dedupe job one after the other."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from PIL import Image, ImageEnhance

from catalog.source import CatalogSource
from dedupe.job import Layout
from dedupe.stages.finishing import finish
from dedupe.stages.showing import Pictures
from pipelines.dedupe_steps import plan_stages
from pipelines.embed import EmbedConfig
from tests.pipelines.without_beam import embed_without_beam


def encoded(picture: Image.Image, form: str, **options: int) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, form, **options)
    return sink.getvalue()


def versions(seed: int) -> list[bytes]:
    """A drawn picture as PNG, the same bytes, the same pixels, and edits that are more and less alike."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (5, 5, 3), np.uint8), "RGB")
    picture = coarse.resize((96, 96), Image.Resampling.BICUBIC)
    plain = encoded(picture, "PNG")
    return [
        plain,
        plain,
        encoded(picture, "PNG", compress_level=1),
        encoded(picture.resize((64, 64)), "PNG"),
        encoded(picture, "JPEG", quality=60),
        encoded(ImageEnhance.Brightness(picture).enhance(1.15), "JPEG", quality=80),
        encoded(picture.crop((6, 6, 90, 90)), "PNG"),
        encoded(picture.crop((14, 10, 80, 84)), "JPEG", quality=70),
    ]


def write_catalog(folder: Path, pictures: int) -> pa.Table:
    """`catalog.csv` and its images: `pictures` drawn ones in eight versions each, and one picture under nine products.
    One row has no image."""
    (folder / "images").mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    logo = versions(10_000)[0]
    drawn = [(f"p{seed:02d}", data) for seed in range(pictures) for data in versions(seed)]
    for number, (product, data) in enumerate([*drawn, *((f"q{each}", logo) for each in range(9))]):
        name = f"images/{number:03d}.img"
        (folder / name).write_bytes(data)
        # Ids in another order than pictures, so that copies and edits are all over the partitions.
        item_id = f"i{number * 37 % 1_000:03d}"
        split, vendor = ("train", "test")[number % 3 == 0], ("acme", "globex", "umbrella")[number % 3]
        rows.append({"item_id": item_id, "image": name, "product_id": product, "split": split, "vendor": vendor})
    rows.append(
        {"item_id": "missing", "image": "images/none.img", "product_id": "x", "split": "test", "vendor": "acme"}
    )
    table = pa.Table.from_pylist(rows)
    pa.csv.write_csv(table, folder / "catalog.csv")
    return table


def make_store(folder: Path, pictures: int = 12) -> str:
    """Embeds the catalog; returns the URL of the store."""
    write_catalog(folder, pictures)
    source = CatalogSource((str(folder / "catalog.csv"),))
    embed_without_beam(EmbedConfig(source, str(folder / "embeddings"), "color-histogram", partitions=8))
    return str(folder / "embeddings")


def run_stages(layout: Layout) -> dict[str, Any]:
    """Runs a job without an engine; returns its summary."""
    for _, stage, units in plan_stages(layout):
        stage.setup()
        for unit in units:
            list(stage.process(unit))
    return finish(layout, Pictures(0, lambda uris: {}))
