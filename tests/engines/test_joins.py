"""A collection joined with itself on real engines, one key of which has a third of the rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam

from catalog import storage
from catalog.embedding_file import read_file
from catalog.snapshot import latest_snapshot
from pipelines.runner import pipeline_options, run
from pipelines.star_edges import StarEdges
from tests.conftest import draw_picture
from tests.engines.conftest import Cluster

ROWS = 300


class ContentOfItems(beam.DoFn):
    """The URL of an embedding file to the content hash and the id of each item."""

    def process(self, url: str) -> Iterator[tuple[bytes, str]]:
        table = read_file(url, ["item_id", "content_hash"])
        yield from zip(table["content_hash"].to_pylist(), table["item_id"].to_pylist(), strict=True)


def test_copies_of_a_picture_are_found_in_a_store(cluster: Cluster, tmp_path: Path) -> None:
    from commands.main import main

    # Every third item is the placeholder; the others come in pairs.
    pictures = [0 if number % 3 == 0 else 1 + number // 2 for number in range(ROWS)]
    for picture in sorted(set(pictures)):
        draw_picture(picture).save(tmp_path / f"{picture}.png")
    rows = [f"item-{number:03d},{picture}.png" for number, picture in enumerate(pictures)]
    (tmp_path / "catalog.csv").write_text("\n".join(["item_id,image", *rows]) + "\n")
    store = str(tmp_path / "embeddings")
    assert main(["embed", "--catalog", str(tmp_path / "catalog.csv"), "--output", store, "--partitions", "8"]) == 0
    snapshot = latest_snapshot(store)
    urls = [storage.join(store, entry.path) for entry in snapshot.files]
    pipeline = beam.Pipeline(options=pipeline_options(cluster.beam_arguments(), cluster.name))
    (
        pipeline
        | "Files" >> beam.Create(urls)
        | "Spread" >> beam.Reshuffle()
        | "Contents" >> beam.ParDo(ContentOfItems())
        | StarEdges(heavier_than=20)
        | "Line" >> beam.Map(json.dumps)
        | "Write" >> beam.io.WriteToText(str(tmp_path / "edges"))
    )
    run(pipeline)
    found = [json.loads(line) for part in tmp_path.glob("edges-*") for line in part.read_text().splitlines()]
    first = {}
    expected = []
    for number, picture in enumerate(pictures):
        if picture in first:
            expected.append([first[picture], f"item-{number:03d}"])
        first.setdefault(picture, f"item-{number:03d}")
    assert sorted(found) == sorted(expected)
    assert sum(edge[0] == "item-000" for edge in found) == ROWS // 3 - 1
