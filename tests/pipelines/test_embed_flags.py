"""What flags ask of the embed job: engine, precision, threads, hints to the runner; and what Beam is told of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.metrics import MetricsFilter

from catalog.encoder_info import EncoderInfo
from catalog.errors import UsageError
from catalog.partition_rows import Changes
from catalog.snapshot import latest_snapshot
from catalog.source import CatalogSource
from pipelines.embed import EmbedConfig, embed, prepare
from pipelines.embed_steps import build
from pipelines.flags import add_embed_flags, embed_config
from pipelines.precision_cost import compare_vectors
from pipelines.runner import pipeline_options
from tests.conftest import Catalog

MakeCatalog = Callable[..., Catalog]


def config_from(*flags: str) -> EmbedConfig:
    parser = argparse.ArgumentParser()
    add_embed_flags(parser)
    return embed_config(parser.parse_args(["--catalog", "c.csv", "--output", "e", *flags]), ())


def test_flags_become_the_job_that_they_ask_for() -> None:
    plain = config_from()
    assert (plain.engine, plain.precision, plain.changes, plain.hints) == ("auto", "float32", Changes.STORE, {})
    assert plain.source.source_version_column is None
    config = config_from(
        *("--inference-engine", "tensorflow", "--precision", "bfloat16", "--changes", "column", "--compact-at", "0.5"),
        *("--threads", "3", "--accelerator", "type:nvidia-l4;count:1", "--worker-memory", "16GB", "--max-frames", "7"),
    )
    assert (config.engine, config.precision, config.changes) == ("tensorflow", "bfloat16", Changes.COLUMN)
    assert (config.compact_at, config.threads, config.limits.max_frames) == (0.5, 3, 7)
    assert config.source.source_version_column == "source_version"
    assert config.hints == {"accelerator": "type:nvidia-l4;count:1", "min_ram": "16GB"}
    assert config_from("--encoder", "savedmodel:models/v3").asks.encoder == "savedmodel:models/v3"
    named = config_from("--changes", "column", "--source-version-column", "etag")
    assert named.source.source_version_column == "etag"
    with pytest.raises(UsageError, match="--source-version-column is for --changes column"):
        config_from("--source-version-column", "etag")


def test_a_version_column_that_is_not_there_is_named(make_catalog: MakeCatalog, tmp_path: Path) -> None:
    catalog = make_catalog(3)
    source = CatalogSource((str(catalog.csv),), source_version_column="etag")
    with pytest.raises(UsageError, match=r"has no column 'etag' \(--source-version-column\)"):
        embed(EmbedConfig(source, str(tmp_path / "e"), "color-histogram", changes=Changes.COLUMN))


def job_of(catalog: Catalog, output: Path, hints: dict[str, str]) -> beam.Pipeline:
    pipeline = beam.Pipeline(options=pipeline_options(()))
    job = prepare(EmbedConfig(CatalogSource((str(catalog.csv),)), str(output), "color-histogram", hints=hints))
    build(pipeline, list(job.catalog.readers), job.work, job.finish, hints)
    return pipeline


def test_hints_are_on_the_encode_step_alone(make_catalog: MakeCatalog, tmp_path: Path) -> None:
    hints = {"accelerator": "type:nvidia-l4;count:1;install-nvidia-driver", "min_ram": "16GB"}
    pipeline = job_of(make_catalog(5), tmp_path / "e", hints)
    proto = pipeline.to_runner_api()
    environments = proto.components.environments
    with_hints = {
        transform.unique_name
        for transform in proto.components.transforms.values()
        if transform.environment_id and environments[transform.environment_id].resource_hints
    }
    assert with_hints
    assert all(name.startswith("EncodePartition") for name in with_hints)


def test_beam_counts_rows_bytes_and_seconds(make_catalog: MakeCatalog, tmp_path: Path) -> None:
    catalog = make_catalog(30)
    (catalog.csv.parent / "pictures" / "3.png").unlink()
    result = job_of(catalog, tmp_path / "e", {}).run()
    result.wait_until_finish()
    metrics = result.metrics().query(MetricsFilter().with_namespace("embed"))
    counters = {found.key.metric.name: found.committed for found in metrics["counters"]}
    size = sum(path.stat().st_size for path in (catalog.csv.parent / "pictures").iterdir())
    assert (counters["rows"], counters["embedded"], counters["rejected_not_found"]) == (30, 29, 1)
    assert (counters["fetched_images"], counters["fetched_bytes"]) == (29, size)
    distributions = {found.key.metric.name: found.committed for found in metrics["distributions"]}
    assert {"fetch_milliseconds", "decode_milliseconds", "encode_milliseconds"} <= set(distributions)
    assert distributions["fetched_bytes_a_partition"].sum == size


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_the_engine_does_not_change_what_is_stored(
    make_catalog: MakeCatalog, tmp_path: Path, tiny_saved_model: Path, engine: str
) -> None:
    from catalog import storage
    from catalog.embedding_file import read_file

    catalog = make_catalog(40)
    spec = f"savedmodel:{tiny_saved_model}"
    vectors = {}
    for name in ("auto", engine):
        output = tmp_path / name
        embed(EmbedConfig(CatalogSource((str(catalog.csv),)), str(output), spec, engine=name, vector_type="float32"))
        snapshot = latest_snapshot(str(output))
        assert snapshot is not None
        tables = [read_file(storage.join(str(output), entry.path)) for entry in snapshot.files]
        vectors[name] = {row["item_id"]: row["embedding"] for table in tables for row in table.to_pylist()}
    assert sorted(vectors["auto"]) == sorted(vectors[engine])
    for item_id, vector in vectors["auto"].items():
        np.testing.assert_allclose(vector, vectors[engine][item_id], atol=1e-5)


def test_a_lower_precision_is_a_lineage_of_its_own_and_its_cost_is_measured(
    make_catalog: MakeCatalog, tmp_path: Path, tiny_saved_model: Path
) -> None:
    catalog = make_catalog(40)
    config = EmbedConfig(
        CatalogSource((str(catalog.csv),)),
        str(tmp_path / "e"),
        f"savedmodel:{tiny_saved_model}",
        precision="bfloat16",
        engine="tensorflow",
    )
    summary = embed(config)
    assert summary.precision is not None
    assert summary.precision.sampled == 40
    assert 0.5 < summary.precision.neighbour_overlap <= 1
    assert 0.98 < summary.precision.least_cosine <= summary.precision.mean_cosine <= 1.0001
    snapshot = latest_snapshot(str(tmp_path / "e"))
    assert snapshot is not None
    assert isinstance(snapshot.encoder, EncoderInfo)
    assert snapshot.encoder.spec.endswith("?precision=bfloat16")
    full = embed(EmbedConfig(config.source, config.output, config.encoder))
    assert (full.embedded, full.lineage, full.precision) == (40, 2, None)


def test_the_overlap_is_the_share_of_the_ten_nearest_that_stay() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 16)).astype(np.float32)
    same = compare_vectors(vectors, vectors.astype(np.float16))
    assert (same.sampled, same.mean_cosine) == (60, 1.0)
    assert same.neighbour_overlap > 0.99
    other = compare_vectors(vectors, rng.normal(size=(60, 16)).astype(np.float16))
    assert other.neighbour_overlap < 0.4
    slow = []
    noisy = vectors + 0.3 * rng.normal(size=vectors.shape).astype(np.float32)
    unit, moved = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (vectors, noisy))
    for row in range(60):
        nearest = [
            set(sorted((n for n in range(60) if n != row), key=lambda n, a=a: -float(a[row] @ a[n]))[:10])
            for a in (unit, moved)
        ]
        slow.append(len(nearest[0] & nearest[1]) / 10)
    assert compare_vectors(vectors, noisy).neighbour_overlap == pytest.approx(np.mean(slow), abs=0.005)
