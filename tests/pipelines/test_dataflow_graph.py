"""The jobs as Dataflow would get them: its own runner writes the job down, staged on a store on loopback, and submits
nothing."""

from __future__ import annotations

import base64
import bz2
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.portability.api import beam_runner_api_pb2

from catalog import storage
from catalog.source import CatalogSource
from pipelines.embed import EmbedConfig, prepare
from pipelines.embed import submit as submit_embed
from pipelines.embed_steps import build
from pipelines.flex_template import main as launch
from pipelines.flex_template import submit_index
from pipelines.index import IndexConfig
from pipelines.runner import pipeline_options
from tests.catalog.object_stores import gcs_server
from tests.conftest import REPOSITORY, Catalog
from tests.pipelines.nights import write_catalog, write_config

IMAGE = "europe-west1-docker.pkg.dev/shop/catalog/indexer:1"
GPU = {"accelerator": "type:nvidia-l4;count:1;install-nvidia-driver", "min_ram": "24GB"}
ACCELERATOR, MEMORY = "beam:resources:accelerator:v1", "beam:resources:min_ram_bytes:v1"


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("apache_beam.internal.gcp.auth._Credentials._credentials_init", False)
    with gcs_server(tmp_path) as url:
        storage._store.cache_clear()
        yield url
    storage._store.cache_clear()


@dataclass
class Job:
    """A job that Dataflow was not sent.

    Attributes:
        request: what would have been sent.
        graph: the pipeline that the request names.
        bucket: what it was staged to.
    """

    request: dict[str, Any]
    graph: beam_runner_api_pb2.Pipeline
    bucket: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.request["environment"]["sdkPipelineOptions"]["options"])

    def steps(self) -> list[str]:
        """The steps that the job puts together, in order."""
        transforms = self.graph.components.transforms
        (root,) = self.graph.root_transform_ids
        return [transforms[each].unique_name for each in transforms[root].subtransforms]

    def hints(self) -> dict[str, dict[str, bytes]]:
        """The resource hints of every step that has any, by its top-level name."""
        found: dict[str, dict[str, bytes]] = {}
        for transform in self.graph.components.transforms.values():
            environment = self.graph.components.environments.get(transform.environment_id)
            if environment is not None and environment.resource_hints:
                found.setdefault(transform.unique_name.split("/")[0], {}).update(environment.resource_hints)
        return found

    def images(self) -> set[str]:
        """Of all environments."""
        payloads = [each.payload for each in self.graph.components.environments.values()]
        return {beam_runner_api_pb2.DockerPayload.FromString(payload).container_image for payload in payloads}

    def staged(self) -> dict[str, str]:
        """URLs of the staged files by name."""
        (pool,) = self.request["environment"]["workerPools"]
        return {
            each["name"]: each["location"].replace("storage.googleapis.com/", "gs://")
            for each in pool.get("packages", [])
        }


def flags(bucket: str, folder: Path) -> tuple[str, ...]:
    return (
        *("--runner=DataflowRunner", "--project=shop", "--region=europe-west1", "--job_name=catalog"),
        *(f"--temp_location={bucket}/tmp", f"--staging_location={bucket}/staging"),
        *(f"--sdk_container_image={IMAGE}", "--sdk_location=container"),
        f"--template_location={folder / 'job.json'}",
    )


def job_in(folder: Path, bucket: str) -> Job:
    request = json.loads((folder / "job.json").read_bytes())
    url = request["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
    return Job(request, beam_runner_api_pb2.Pipeline.FromString(storage.read_bytes(url)), bucket)


def put(file: Path, bucket: str) -> str:
    """The URL of a copy in the bucket: workers of Dataflow do not see this machine's disk."""
    url = f"{bucket}/{file.name}"
    storage.write(url, file.read_bytes())
    return url


def embed_job(catalog: Catalog, bucket: str, folder: Path, *more: str, **settings: Any) -> Job:
    source = CatalogSource((put(catalog.csv, bucket),))
    arguments = (*flags(bucket, folder), *more)
    submit_embed(EmbedConfig(source, f"{bucket}/e", "color-histogram", beam_arguments=arguments, **settings))
    return job_in(folder, bucket)


def index_job(catalog: Catalog, bucket: str, folder: Path, **settings: Any) -> Job:
    from pipelines.embed import embed

    embed(EmbedConfig(CatalogSource((str(catalog.csv),)), f"{bucket}/e", "color-histogram", partitions=2))
    config = IndexConfig(f"{bucket}/e", f"{bucket}/a", "shop", beam_arguments=flags(bucket, folder), **settings)
    submit_index(config)
    return job_in(folder, bucket)


def test_the_embed_job_has_its_steps_in_order_and_its_workers_the_image(
    make_catalog: Callable[..., Catalog], bucket: str, tmp_path: Path
) -> None:
    job = embed_job(make_catalog(20), bucket, tmp_path)
    assert job.steps() == [
        *("Files", "SpreadFiles", "ReadRows", "ToChunks", "StoreRows", "Partitions", "Flatten", "ToPartitions"),
        *("SpreadPartitions", "EncodePartition", "Collect", "Finish"),
    ]
    assert job.images() == {IMAGE}
    (pool,) = job.request["environment"]["workerPools"]
    assert {each["containerImage"] for each in pool["sdkHarnessContainerImages"]} == {IMAGE}
    assert job.request["type"] == "JOB_TYPE_BATCH"
    assert job.hints() == {}
    assert job.staged() == {}
    assert not [*storage.list_files(f"{bucket}/e/snapshots")]  # Nothing ran.


def test_a_gpu_and_memory_are_asked_for_by_the_encode_step_alone(
    make_catalog: Callable[..., Catalog], bucket: str, tmp_path: Path
) -> None:
    job = embed_job(make_catalog(20), bucket, tmp_path, hints=GPU)
    assert job.hints() == {
        "EncodePartition": {ACCELERATOR: GPU["accelerator"].encode(), MEMORY: b"24000000000"},
    }


def test_the_index_job_asks_for_memory_where_it_holds_more_than_a_stretch(
    make_catalog: Callable[..., Catalog], bucket: str, tmp_path: Path
) -> None:
    job = index_job(
        make_catalog(200), bucket, tmp_path, factory="IVF4,SQ8,RFlat", stratify="label", hints={"min_ram": "32GB"}
    )
    stages = ["CountStrata", "Sample", "Train", "Encode", "Merge", "Assemble"]
    wanted = ["Begin"]
    for stage in stages:
        wanted += [f"{stage}Units", f"Spread{stage}", stage, f"Gather{stage}", f"After{stage}"]
    assert job.steps() == [*wanted, "Finish", "Promote"]
    assert job.hints() == {name: {MEMORY: b"32000000000"} for name in ("Train", "Merge", "Assemble", "Finish")}
    assert job.images() == {IMAGE}


def test_a_night_is_a_job_of_one_step(bucket: str, tmp_path: Path) -> None:
    write_catalog(tmp_path, range(3))
    config = put(write_config(tmp_path), bucket)
    assert launch(["--job=nightly", f"--config={config}", *flags(bucket, tmp_path)]) == 0
    job = job_in(tmp_path, bucket)
    assert job.steps() == ["Config", "Nightly"]
    assert not [*storage.list_files(f"{bucket}/embeddings")]


def test_settings_of_the_workers_reach_the_job(
    make_catalog: Callable[..., Catalog], bucket: str, tmp_path: Path
) -> None:
    job = embed_job(
        make_catalog(3),
        bucket,
        tmp_path,
        *("--machine_type=g2-standard-8", "--disk_size_gb=100", "--max_num_workers=7", "--no_use_public_ips"),
        *("--subnetwork=regions/europe-west1/subnetworks/workers", "--experiments=no_use_multiple_sdk_containers"),
        *("--service_account_email=indexer@shop.iam.gserviceaccount.com", "--number_of_worker_harness_threads=4"),
    )
    environment = job.request["environment"]
    (pool,) = environment["workerPools"]
    assert (pool["machineType"], pool["diskSizeGb"], pool["numThreadsPerWorker"]) == ("g2-standard-8", 100, 4)
    assert pool["autoscalingSettings"] == {"maxNumWorkers": 7}
    assert (pool["ipConfiguration"], pool["subnetwork"]) == (
        "WORKER_IP_PRIVATE",
        "regions/europe-west1/subnetworks/workers",
    )
    assert environment["serviceAccountEmail"] == "indexer@shop.iam.gserviceaccount.com"
    # One process a machine, which is what a GPU wants.
    assert "no_use_multiple_sdk_containers" in environment["experiments"]
    assert "use_multiple_sdk_containers" not in environment["experiments"]


def test_with_setup_py_the_project_is_staged_whole(
    make_catalog: Callable[..., Catalog], bucket: str, tmp_path: Path
) -> None:
    """For images that do not have it."""
    job = embed_job(make_catalog(3), bucket, tmp_path, f"--setup_file={REPOSITORY / 'setup.py'}")
    (tarball,) = [url for name, url in job.staged().items() if name.endswith(".tar.gz")]
    (tmp_path / "workflow.tar.gz").write_bytes(storage.read_bytes(tarball))
    with tarfile.open(tmp_path / "workflow.tar.gz") as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"setup.py", "pipelines/embed_steps.py", "pipelines/nightly.schema.json", "catalog/errors.py"} <= names
    assert any(name.startswith("catalog/schemas/") for name in names)


def pickled(job: Job) -> bytes:
    """All that workers unpickle of the steps, as Beam packs it, unpacked."""
    texts = []
    for transform in job.graph.components.transforms.values():
        for found in re.findall(rb"QlpoO[A-Za-z0-9+/]+={0,2}", transform.spec.payload):  # Which is BZh in base 64.
            texts.append(bz2.decompress(base64.b64decode(found)))
    assert texts
    return b"".join(texts)


def test_nothing_of_the_program_that_submits_is_pickled(
    make_catalog: Callable[..., Catalog], bucket: str, tmp_path: Path
) -> None:
    program = [sys.executable, "examples/dataflow/main.py", "--job=embed", f"--output={bucket}/e"]
    command = [*program, f"--catalog={put(make_catalog(3).csv, bucket)}", *flags(bucket, tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ran = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert ran.returncode == 0, ran.stderr
    job = job_in(tmp_path, bucket)
    assert b"pipelines.embed_steps" in pickled(job)
    assert b"__main__" not in pickled(job)
    assert not [name for name in job.staged() if "main_session" in name]
    assert job.options["save_main_session"] is False


def test_a_step_of_the_program_that_submits_would_be_found(bucket: str, tmp_path: Path) -> None:
    class Local(beam.DoFn):
        def process(self, element: int) -> Iterator[int]:
            yield element

    Local.__module__ = "__main__"
    pipeline = beam.Pipeline(options=pipeline_options([*flags(bucket, tmp_path)]))
    pipeline | beam.Create([1]) | beam.ParDo(Local())
    pipeline.run()
    assert b"__main__" in pickled(job_in(tmp_path, bucket))


def test_the_graph_of_a_billion_rows_is_one_that_dataflow_takes(
    make_catalog: Callable[..., Catalog], tmp_path: Path
) -> None:
    """It takes graphs of up to 10 MB; partitions are what grows."""
    source = CatalogSource((str(make_catalog(3).csv),))
    job = prepare(EmbedConfig(source, str(tmp_path / "e"), "color-histogram"))
    pipeline = beam.Pipeline(options=pipeline_options(()))
    build(pipeline, list(job.catalog.readers), job.work, replace(job.finish, partitions=32_768))
    assert len(pipeline.to_runner_api().SerializeToString()) < 1_000_000
