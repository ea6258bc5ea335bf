"""What may not go together is refused with the reason, before anything is written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import UsageError
from pipelines.beam_flags import given_options
from pipelines.engine_checks import check
from pipelines.engine_presets import FlinkCluster, Job, presets
from pipelines.runner import pipeline_options
from tests.conftest import Finished

NOTHING = Job()
SPARK = ("--spark_master_url=spark://h:7077",)
FLINK = ("--flink_master=h:8081", "--parallelism=4")
DATAFLOW = ("--project=p", "--region=r", "--temp_location=gs://b/t", "--sdk_container_image=i")
GPU = Job({"accelerator": "type:nvidia-l4;count:1"})
LEAST = {"local": (), "spark": SPARK, "flink": FLINK, "dataflow": DATAFLOW}


def checked(engine: str | None, *flags: str, job: Job = NOTHING, cluster: FlinkCluster | None = None) -> list[str]:
    given = given_options(flags)
    return check(engine, {**presets(engine, given, job, cluster), **given}, job, cluster)


@pytest.mark.parametrize("engine", LEAST)
def test_the_least_that_an_engine_needs_is_enough(engine: str) -> None:
    assert checked(engine, *LEAST[engine]) == []


@pytest.mark.parametrize(
    ("engine", "flags"),
    [
        (None, ("--runner=PortableRunner", "--job_endpoint=h:8099")),
        ("local", ("--direct_running_mode=multi_processing", "--direct_num_workers=2")),
        ("spark", ("--spark_master_url=local[2]",)),
        ("spark", ("--spark_master_url=local", "--environment_type=PROCESS")),
        ("spark", ("--spark_master_url=spark://h1:7077,h2:7077",)),
        ("spark", ("--spark_master_url=spark://localhost:7077", "--environment_type=LOOPBACK")),
        ("spark", ("--job_endpoint=h:8099", "--runner=PortableRunner")),
        ("spark", (*SPARK, "--environment_type=DOCKER", "--environment_config=image")),
        ("spark", (*SPARK, "--environment_type=DOCKER", "--environment_option=docker_container_image=image")),
        ("spark", (*SPARK, "--environment_type=EXTERNAL", "--environment_config=localhost:50000")),
        ("spark", (*SPARK, "--environment_option=process_command=/boot")),
        ("spark", ("--spark_submit_uber_jar", "--spark_rest_url=http://h:6066")),
        ("spark", (*SPARK, "--setup_file=./setup.py", "--artifacts_dir=gs://b/staged")),
        ("spark", ("--spark_master_url=spark://localhost:7077", "--setup_file=./setup.py")),
        ("flink", ("--flink_master=[local]",)),
        ("flink", ("--job_endpoint=h:8099", "--parallelism=4")),
        ("flink", (*FLINK, "--flink_submit_uber_jar", "--setup_file=./setup.py")),
        ("spark", ("--spark_submit_uber_jar", "--spark_rest_url=http://h:6066", "--files_to_stage=x")),
        ("dataflow", (*DATAFLOW[:3], "--setup_file=./setup.py")),
        ("dataflow", (*DATAFLOW[:2], "--staging_location=gs://b/s", "--worker_harness_container_image=i")),
        ("dataflow", ("--template_location=gs://b/graph",)),
        ("dataflow", (*DATAFLOW, "--flexrs_goal=COST_OPTIMIZED")),
        ("dataflow", (*DATAFLOW, "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1")),
    ],
)
def test_what_goes_together_is_let_through(engine: str | None, flags: tuple[str, ...]) -> None:
    assert checked(engine, *flags) == []


@pytest.mark.parametrize(
    ("engine", "flags", "reason"),
    [
        ("local", ("--save_main_session",), "--save_main_session would pickle the launcher into every worker"),
        ("flink", (*FLINK, "--streaming"), "--streaming: the jobs read a catalog that has an end; leave it out"),
        ("spark", (*SPARK, "--output_executable_path=x.jar"), "--output_executable_path writes a program and runs not"),
        (
            "local",
            SPARK,
            "--spark_master_url is for --engine spark, and this job would run on local; add --engine spark",
        ),
        ("spark", (*SPARK, *FLINK), "--flink_master is for --engine flink, and this job would run on spark"),
        ("local", ("--job_endpoint=h:8099",), "--job_endpoint is for --engine spark, --engine flink and --runner=Port"),
        (None, ("--runner=PortableRunner",), "--runner=PortableRunner needs --job_endpoint"),
        ("spark", (), "--engine spark needs --spark_master_url, spark://HOST:7077 or local[4]"),
        (
            "spark",
            ("--spark_master_url=yarn",),
            "--spark_master_url=yarn: the job server of Beam knows a standal",
        ),
        ("spark", ("--spark_master_url=h:7077",), "--spark_master_url=h:7077: the job server of Beam knows"),
        ("spark", ("--spark_submit_uber_jar",), "--spark_submit_uber_jar needs --spark_rest_url"),
        (
            "spark",
            (*SPARK, "--environment_type=LOOPBACK"),
            "--environment_type=LOOPBACK runs the project in this process",
        ),
        (
            "flink",
            (*FLINK, "--environment_type=LOOPBACK"),
            "--environment_type=LOOPBACK runs the project in this process",
        ),
        ("spark", (*SPARK, "--environment_type=DOCKER"), "--environment_type=DOCKER needs the worker image in --env"),
        (
            "spark",
            (*SPARK, "--environment_type=EXTERNAL"),
            "--environment_type=EXTERNAL needs the HOST:PORT of the wor",
        ),
        (
            "spark",
            (*SPARK, "--environment_config=/boot"),
            "--environment_config=/boot has no command; expected JSON such",
        ),
        ("spark", (*SPARK, '--environment_config={"env": {}}'), '--environment_config={"env": {}} has no command; exp'),
        (
            "spark",
            (*SPARK, '--environment_config={"command": "/b"}', "--environment_option=process_command=/c"),
            "--environment_config and --environment_option say the same in two ways; leave one out",
        ),
        (
            "flink",
            (*FLINK, "--setup_file=./setup.py"),
            "--setup_file is staged into a folder of this machine, which fl",
        ),
        ("spark", (*SPARK, "--extra_package=x.whl"), "--extra_packages is staged into a folder of this machine, which"),
        (
            "flink",
            ("--job_endpoint=h:1", "--parallelism=4", "--flink_submit_uber_jar", "--setup_file=./setup.py"),
            "--setup_file is staged into a folder of this machine, which",
        ),
        ("spark", (*SPARK, "--resource_hints=min_ram=16GB"), "--resource_hints: spark takes no resource hints"),
        ("flink", (), "--engine flink needs --flink_master, HOST:8081 or [local]"),
        ("flink", FLINK[:1], "--engine flink needs --parallelism, the task slots of the cluster"),
        ("flink", ("--job_endpoint=h:8099",), "--engine flink needs --parallelism, the task slots of the cluster"),
        ("flink", (FLINK[0], "--parallelism=-1"), "--engine flink needs --parallelism, the task slots of the cluster"),
        ("flink", (*FLINK, "--attached_mode"), "--attached_mode: the launcher waits for what the job has written"),
        ("dataflow", DATAFLOW[1:], "--engine dataflow needs --project"),
        ("dataflow", (DATAFLOW[0], *DATAFLOW[2:]), "--engine dataflow needs --region, a region such as europe-west1"),
        ("dataflow", (*DATAFLOW[:2], DATAFLOW[3]), "--temp_location is missing; --engine dataflow needs a folder such"),
        (
            "dataflow",
            (*DATAFLOW[:2], "--temp_location=/tmp/x", DATAFLOW[3]),
            "--temp_location=/tmp/x is not in Cloud Storage; --engine dataflow needs a folder such as gs://BUCKET/tmp",
        ),
        ("dataflow", DATAFLOW[:3], "--engine dataflow needs --sdk_container_image, the worker image, or --setup_file="),
        *(
            ("dataflow", (*DATAFLOW, flag), f"{flag.split('=')[0]} is for Spark, Flink and --runner=PortableRunner")
            for flag in (
                "--environment_type=LOOPBACK",
                "--environment_config=image",
                "--environment_options=process_command=/b",
                "--environment_cache_millis=1",
            )
        ),
        ("dataflow", (*DATAFLOW, "--job_endpoint=h:1"), "--job_endpoint is for --engine spark, --engine flink and"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_reason(
    engine: str | None, flags: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(UsageError) as refused:
        checked(engine, *flags)
    assert str(refused.value).startswith(reason)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("engine", ["spark", "flink"])
def test_hints_that_an_engine_does_not_take_are_refused(engine: str) -> None:
    both = Job({**GPU.hints, "min_ram": "16GB"})
    with pytest.raises(UsageError, match=f"^--accelerator and --worker-memory: {engine} takes no resource hints, "):
        checked(engine, *LEAST[engine], job=both)
    assert checked("dataflow", *DATAFLOW, job=both) == []
    assert checked("local", job=both) == ["--accelerator and --worker-memory: the local engine takes no hints"]


def test_a_gpu_on_dataflow_is_asked_for_once_and_not_in_flexible_scheduling() -> None:
    everywhere = "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1"
    with pytest.raises(UsageError, match=r"^--accelerator and --dataflow_service_options=worker_accelerator=…: "):
        checked("dataflow", *DATAFLOW, everywhere, job=GPU)
    for flags, job in (((), GPU), ((everywhere,), NOTHING)):
        with pytest.raises(UsageError, match="and --flexrs_goal: Dataflow has no GPUs in flexible scheduling"):
            checked("dataflow", *DATAFLOW, "--flexrs_goal=SPEED_OPTIMIZED", *flags, job=job)


def test_one_process_and_a_gpu_that_processes_share_are_refused_together() -> None:
    shared = Job({"accelerator": "type:nvidia-l4;count:1;use_nvidia_mps"})
    assert checked("dataflow", *DATAFLOW, job=shared) == []
    assert checked("dataflow", *DATAFLOW, "--experiments=no_use_multiple_sdk_containers", job=GPU) == []
    with pytest.raises(UsageError, match=r"^use_nvidia_mps and --experiments=no_use_multiple_sdk_containers: the one"):
        checked("dataflow", *DATAFLOW, "--experiments=no_use_multiple_sdk_containers", job=shared)


def test_the_version_of_flink_must_be_the_clusters() -> None:
    cluster = FlinkCluster("1.20.1", 4)
    assert checked("flink", *FLINK, cluster=cluster) == []
    assert checked("flink", *FLINK, "--flink_version=1.20", cluster=cluster) == []
    with pytest.raises(UsageError, match=r"^--flink_version=2.2, and the cluster at h:8081 is Flink 1.20.1; they must"):
        checked("flink", *FLINK, "--flink_version=2.2", cluster=cluster)


def test_places_that_the_workers_do_not_see_are_refused_or_told() -> None:
    local, bucket = (
        Job(places=[("--output", "./e"), ("--catalog", "gs://b/c.csv")]),
        Job(places=[("--output", "gs://b")]),
    )
    with pytest.raises(UsageError, match=r"^--output \./e is on this machine's disk, which Dataflow's workers do not "):
        checked("dataflow", *DATAFLOW, job=local)
    for engine in ("spark", "flink"):
        assert checked(engine, *LEAST[engine], job=local) == ["--output ./e must be on a disk that all workers share"]
    assert checked("spark", "--spark_master_url=spark://localhost:7077", job=local) == []
    assert checked("local", job=local) == []
    for engine, flags in LEAST.items():
        assert checked(engine, *flags, job=bucket) == []


@pytest.mark.parametrize("encoder", ["savedmodel:models/v3?size=224", "keras:ResNet50@/models/r.weights.h5"])
def test_a_model_on_this_machine_may_be_in_the_image_and_is_told(encoder: str) -> None:
    job = Job(encoder=encoder)
    for engine in ("spark", "flink", "dataflow"):
        said = [f"--encoder {encoder} must be in the worker image under the same path"]
        assert checked(engine, *LEAST[engine], job=job) == said
        for elsewhere in ("savedmodel:gs://b/v3", "keras:ResNet50", "keras:ResNet50@random", "tfhub:google/x/1"):
            assert checked(engine, *LEAST[engine], job=Job(encoder=elsewhere)) == []
    assert checked("local", job=job) == []
    assert checked("spark", "--spark_master_url=spark://localhost:7077", job=job) == []


def test_the_memory_of_this_process_is_for_workers_inside_of_it() -> None:
    job = Job(places=[("--output", "memory://e")])
    for engine, flags in (
        ("local", ()),
        ("local", ("--direct_running_mode=multi_threading",)),
        ("spark", ("--spark_master_url=local[2]",)),
    ):
        assert checked(engine, *flags, job=job) == []
    for engine, flags in (
        ("local", ("--direct_running_mode=multi_processing",)),
        ("local", ("--direct_running_mode=multi_processing", "--environment_type=LOOPBACK")),
        ("spark", ("--spark_master_url=local[2]", "--environment_type=PROCESS")),
        ("flink", FLINK),
        ("dataflow", DATAFLOW),
    ):
        with pytest.raises(UsageError, match=r"^--output memory://e is in the memory of this process, and the workers"):
            checked(engine, *flags, job=job)


def test_prism_without_its_program_is_refused_before_beam_downloads_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"^--runner=PrismRunner needs --prism_location, .* download one from GitHub$"):
        checked("local", "--runner=PrismRunner")
    with pytest.raises(
        UsageError, match=r"^--prism_location=/no/such is no file; expected the path of the program prism$"
    ):
        checked("local", "--runner=PrismRunner", "--prism_location=/no/such")
    release = "https://github.com/apache/beam/releases/tag/v2.77.0"
    assert checked("local", "--runner=PrismRunner", f"--prism_location={release}") == []
    assert checked("local", "--runner=PrismRunner", "--prism_beam_version_override=v2.77.0") == []
    (tmp_path / "prism").touch(0o755)
    assert checked("local", "--runner=PrismRunner") == []
    assert checked("local", "--runner=DirectRunner") == []


def test_a_job_server_without_java_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"^--engine spark needs Java, and there is no java; name it with --job_serv"):
        pipeline_options(SPARK, "spark")
    pipeline_options([*SPARK, f"--job_server_java_launcher={sys.executable}"], "spark")
    pipeline_options(["--job_endpoint=h:8099"], "spark")


def test_what_is_filled_in_is_told_where_an_engine_was_asked_for() -> None:
    said: list[str] = []
    pipeline_options([], say=said.append)
    pipeline_options(["--direct_num_workers=2"], say=said.append)
    assert said == []
    pipeline_options([], "local", say=said.append)
    pipeline_options(["--runner=SparkRunner", "--job_endpoint=localhost:1"], say=said.append)
    assert said[0] == "engine local: --runner=FnApiRunner"
    assert said[1].startswith("engine spark: --environment_type=PROCESS '--environment_config={")


def test_a_wrong_combination_ends_a_command_with_nothing_written(tmp_path: Path, make_catalog: Any, cli: Any) -> None:
    catalog = make_catalog(3)
    before = sorted(tmp_path.rglob("*"))
    stores = ("--output", tmp_path / "e")
    refused: Finished = cli("embed", "--catalog", catalog.csv, *stores, "--engine", "spark")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("catalog-indexer embed: --engine spark needs --spark_master_url, ")
    hinted: Finished = cli(
        *("embed", "--catalog", catalog.csv, *stores, "--engine=flink", "--worker-memory", "16GB"),
        *("--", "--flink_master=[local]"),
    )
    assert (hinted.code, hinted.err.count("\n")) == (2, 1)
    places = ("--embeddings", tmp_path / "e", "--artifacts", tmp_path / "a", "--name", "shop")
    other: Finished = cli("index", *places, "--engine", "spark", "--", "--runner=FlinkRunner")
    assert other.code == 2
    assert "--runner=FlinkRunner on another" in other.err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_engine_of_a_retry_is_given_anew(tmp_path: Path, make_catalog: Any, cli: Any) -> None:
    catalog = make_catalog(3)
    picture = catalog.csv.parent / "pictures" / "1.png"
    picture.unlink()
    picture.mkdir()  # Which cannot be read for now.
    store = ("--output", tmp_path / "e")
    asked: Finished = cli("embed", "--catalog", catalog.csv, *store, "--engine", "local", "--json")
    assert asked.code == 0
    assert asked.err.splitlines()[0] == "engine local: --runner=FnApiRunner"
    again = ("rejects", "--embeddings", tmp_path / "e", "--retry")
    refused: Finished = cli(*again, "--engine", "spark")
    assert refused.code == 2
    assert "catalog-indexer rejects: --engine spark needs --spark_master_url" in refused.err
    assert "engine local: --runner=FnApiRunner" in cli(*again, "--engine", "local").err
    assert "engine local" not in cli(*again).err
