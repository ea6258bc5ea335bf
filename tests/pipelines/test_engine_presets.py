"""What `--engine` fills in, and that whatever is given wins."""

from __future__ import annotations

import argparse
import json
import shlex
from typing import Any

import pytest
from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, SetupOptions, WorkerOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.runner import create_runner
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from catalog.errors import UsageError
from pipelines.beam_flags import given_options
from pipelines.engine_presets import (
    BOOT,
    ENGINES,
    FlinkCluster,
    Job,
    engine_of,
    flags_of,
    is_local_master,
    is_on_this_machine,
    presets,
    told,
)
from pipelines.flags import add_engine_flag

GPU = Job(hints={"accelerator": "type:nvidia-l4;count:1"})
CLUSTER = FlinkCluster("1.20.1", 8)
NOTHING_STAGED = "disable_logging_submission_environment"
MPS = "type:nvidia-l4;count:1;install-nvidia-driver;use_nvidia_mps"
PROCESS = {"command": BOOT, "env": {"RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1"}}


def filled(engine: str | None, *flags: str, job: Job = Job(), cluster: FlinkCluster | None = None) -> dict[str, Any]:  # noqa: B008
    return presets(engine, given_options(flags), job, cluster)


def test_every_engine_is_a_choice_of_the_flag_and_none_is_the_default() -> None:
    parser = argparse.ArgumentParser()
    add_engine_flag(parser)
    assert parser.parse_args([]).engine is None
    assert [parser.parse_args(["--engine", each]).engine for each in ENGINES] == list(ENGINES)


@pytest.mark.parametrize(
    ("engine", "runner", "found"),
    [
        (None, None, "local"),
        (None, "FnApiRunner", "local"),
        (None, "DirectRunner", "local"),
        (None, "prism", "local"),
        (None, "PrismRunner", "local"),
        (None, "sparkrunner", "spark"),
        (None, "apache_beam.runners.portability.flink_runner.FlinkRunner", "flink"),
        (None, "DataflowRunner", "dataflow"),
        (None, "PortableRunner", None),
        (None, "InteractiveRunner", None),
        ("spark", None, "spark"),
        ("spark", "SparkRunner", "spark"),
        ("flink", "PortableRunner", "flink"),
        ("local", "PrismRunner", "local"),
    ],
)
def test_the_engine_is_what_was_asked_for_or_what_the_runner_is_of(
    engine: str | None, runner: str | None, found: str | None
) -> None:
    assert engine_of(engine, runner) == found


@pytest.mark.parametrize(("engine", "runner"), [("spark", "FlinkRunner"), ("local", "DataflowRunner"), ("flink", "x")])
def test_an_engine_and_the_runner_of_another_are_refused(engine: str, runner: str) -> None:
    with pytest.raises(UsageError, match=f"^--engine {engine} runs on .*--runner={runner} on another; leave one out$"):
        engine_of(engine, runner)


def test_the_local_engine_is_beams_own_python_runner() -> None:
    assert filled("local") == {"runner": "FnApiRunner"}
    assert filled(None) == {}


def test_prism_is_found_on_the_path_says_little_and_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    prism = {"prism_log_level": "warn", "job_server_timeout": 2_592_000}
    assert filled("local", "--runner=PrismRunner") == {**prism, "prism_location": "/usr/bin/prism"}
    assert filled("local", "--runner=PrismRunner", "--prism_location=/p") == prism
    assert "prism_location" not in filled("local", "--runner=PrismRunner", "--prism_beam_version_override=v2.77.0")
    assert "prism_location" not in filled("local", "--runner=DirectRunner")


def test_spark_on_a_cluster_runs_one_process_of_the_image_a_worker_and_keeps_it() -> None:
    found = filled("spark", "--spark_master_url=spark://h:7077")
    assert json.loads(found.pop("environment_config")) == PROCESS
    assert found == {
        "runner": "SparkRunner",
        "environment_type": "PROCESS",
        "experiments": [NOTHING_STAGED],
        "sdk_worker_parallelism": 1,
        "environment_cache_millis": 600_000,
    }


@pytest.mark.parametrize("master", ["local", "local[4]", "local[*]"])
def test_spark_inside_of_the_job_server_runs_the_project_in_this_process(master: str) -> None:
    found = filled("spark", "--spark_master_url", master)
    assert found["environment_type"] == "LOOPBACK"
    assert "environment_config" not in found


def test_another_environment_is_not_given_the_command_of_a_process() -> None:
    for flags in (
        ["--environment_type=EXTERNAL", "--environment_config=h:50000"],
        ["--environment_type=DOCKER", "--environment_config=image"],
        ["--environment_type", "LOOPBACK"],
        ["--environment_option=process_command=/boot"],
    ):
        found = filled("spark", "--spark_master_url=spark://h:7077", *flags)
        assert "environment_config" not in found, flags
    assert "environment_config" in filled("spark", "--spark_master_url=local[2]", "--environment_type=PROCESS")


def test_flink_is_told_the_version_and_the_slots_that_its_cluster_has() -> None:
    found = filled("flink", "--flink_master=h:8081", cluster=CLUSTER)
    assert (found["flink_version"], found["parallelism"]) == ("1.20", 8)
    assert found["execution_mode_for_batch"] == "BATCH_FORCED"
    assert found["environment_type"] == "PROCESS"
    mine = filled("flink", "--flink_master=h:8081", "--parallelism=3", "--flink_version", "2.1", cluster=CLUSTER)
    assert not {"parallelism", "flink_version", "execution_mode_for_batch"} & set(mine)


def test_a_job_server_of_flink_1_is_told_to_begin_a_step_when_others_have_ended() -> None:
    server = ("--job_endpoint=h:8099", "--parallelism=4")
    assert filled("flink", *server, "--flink_version=1.19")["execution_mode_for_batch"] == "BATCH_FORCED"
    assert "execution_mode_for_batch" not in filled("flink", *server, "--flink_version=2.1")


def test_flink_without_an_answer_is_told_neither() -> None:
    found = filled("flink", "--flink_master=h:8081")
    assert not {"parallelism", "flink_version", "execution_mode_for_batch"} & set(found)
    assert "parallelism" not in filled("flink", "--flink_master=h:8081", cluster=FlinkCluster("2.2.0", 0))
    assert filled("flink", "--flink_master=[local]")["environment_type"] == "LOOPBACK"


def test_dataflow_takes_all_from_the_image() -> None:
    assert filled("dataflow") == {
        "runner": "DataflowRunner",
        "sdk_location": "container",
        "disk_size_gb": 100,
        "save_main_session": False,
        "experiments": ["disable_worker_container_image_prepull", NOTHING_STAGED],
    }


@pytest.mark.parametrize(
    ("flags", "job"),
    [
        ((), GPU),
        (("--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1",), Job()),
        (("--resource_hints=accelerator=type:nvidia-l4;count:1",), Job()),
    ],
)
def test_dataflow_with_a_gpu_has_one_process_a_worker(flags: tuple[str, ...], job: Job) -> None:
    found = filled("dataflow", *flags, job=job)
    assert "no_use_multiple_sdk_containers" in found["experiments"]
    assert found["number_of_worker_harness_threads"] == 2
    assert "no_use_multiple_sdk_containers" not in filled("dataflow", job=Job({"min_ram": "16GB"}))["experiments"]


@pytest.mark.parametrize(
    ("flags", "job"),
    [
        ((), Job(hints={"accelerator": MPS})),
        ((f"--dataflow_service_options=worker_accelerator={MPS}",), Job()),
        ((f"--resource_hints=accelerator={MPS}",), Job()),
    ],
)
def test_dataflow_with_a_gpu_that_processes_share_has_several(flags: tuple[str, ...], job: Job) -> None:
    found = filled("dataflow", *flags, job=job)
    assert "no_use_multiple_sdk_containers" not in found["experiments"]
    assert found["number_of_worker_harness_threads"] == 2


def test_experiments_add_up_and_a_contrary_one_wins() -> None:
    found = filled("dataflow", "--experiments=use_pubsub,shuffle_mode=service", job=GPU)
    of_images = ["disable_worker_container_image_prepull", NOTHING_STAGED]
    assert found["experiments"] == [*of_images, "no_use_multiple_sdk_containers"]
    found = filled("dataflow", "--experiment", "use_multiple_sdk_containers", job=GPU)
    assert found["experiments"] == of_images
    all_of_them = (f"--experiments=no_use_multiple_sdk_containers,{of_images[0]}", f"--experiments={of_images[1]}")
    assert "experiments" not in filled("dataflow", *all_of_them, job=GPU)


# One way to write each option that any engine fills in.
OTHERWISE = {
    "runner": [],
    "sdk_location": ["--sdk_location", "x"],
    "disk_size_gb": ["--disk_size_gb=7"],
    "save_main_session": ["--no_save_main_session"],
    "number_of_worker_harness_threads": ["--number_of_worker_harness_threads", "5"],
    "environment_type": ["--environment_type", "PROCESS"],
    "environment_config": ['--environment_config={"command": "/b"}'],
    "sdk_worker_parallelism": ["--sdk_worker_parallelism=0"],
    "environment_cache_millis": ["--environment_cache_millis", "1"],
    "flink_version": ["--flink_version=2.1"],
    "parallelism": ["--parallelism", "9"],
    "execution_mode_for_batch": ["--execution_mode_for_batch=PIPELINED"],
}
MASTERS = {"spark": ["--spark_master_url=spark://h:7077"], "flink": ["--flink_master=h:8081"]}


@settings(max_examples=40, deadline=None)
@drawn(st.sampled_from(["spark", "flink", "dataflow"]), st.sets(st.sampled_from(sorted(OTHERWISE))))
def test_what_is_given_wins_however_it_is_written(engine: str, chosen: set[str]) -> None:
    flags = [*MASTERS.get(engine, []), *(flag for name in sorted(chosen) for flag in OTHERWISE[name])]
    given = given_options(flags)
    found = presets(engine, given, GPU, CLUSTER)
    assert not set(found) & set(given)
    whole = PipelineOptions([*flags_of(found), *flags]).get_all_options()
    for name, value in given.items():
        assert whole.get(name, value) == value, name
    # Nothing else is left out than what was given, or goes with it.
    tied = {"execution_mode_for_batch"} if "flink_version" in chosen else set()
    assert set(presets(engine, given_options(MASTERS.get(engine, [])), GPU, CLUSTER)) - set(found) <= set(given) | tied


@pytest.mark.parametrize("engine", ENGINES)
def test_beam_takes_what_is_filled_in(engine: str) -> None:
    flags = flags_of(filled(engine, *MASTERS.get(engine, []), job=GPU, cluster=CLUSTER))
    options = PipelineOptions(flags)
    assert given_options(flags)["runner"] == options.get_all_options()["runner"]
    if engine == "dataflow":
        assert options.view_as(WorkerOptions).disk_size_gb == 100
        assert options.view_as(SetupOptions).save_main_session is False
        assert options.view_as(DebugOptions).experiments == [
            "disable_worker_container_image_prepull",
            NOTHING_STAGED,
            "no_use_multiple_sdk_containers",
        ]


def test_what_is_filled_in_is_one_line_that_a_shell_takes() -> None:
    found = filled("spark", "--spark_master_url=spark://h:7077")
    line = told("spark", found)
    assert line.startswith("engine spark: --runner=SparkRunner --environment_type=PROCESS '--environment_config={")
    assert shlex.split(line)[2:] == flags_of(found)
    assert "\n" not in line
    assert told("local", {}) == "engine local: every flag was given"


@pytest.mark.parametrize(
    ("engine", "flag", "local", "near"),
    [
        ("spark", "--spark_master_url=local[2]", True, True),
        ("spark", "--spark_master_url=spark://localhost:7077", False, True),
        ("spark", "--spark_master_url=spark://127.0.0.1:7077", False, True),
        ("spark", "--spark_master_url=spark://10.0.0.7:7077", False, False),
        ("spark", "--spark_master_url=spark://localhost.shop.org:7077", False, False),
        ("spark", "--job_endpoint=localhost:8099", False, True),
        ("spark", "--job_endpoint=jobs:8099", False, False),
        ("flink", "--flink_master=[local]", True, True),
        ("flink", "--flink_master=localhost:8081", False, True),
        ("flink", "--flink_master=http://127.0.0.2:8081", False, True),
        ("flink", "--flink_master=https://flink.shop.org/", False, False),
        ("flink", "--flink_master=[::1]:8081", False, True),
        ("dataflow", "--project=localhost", False, False),
        ("local", "--job_name=x", False, True),
    ],
)
def test_where_the_workers_are_is_told_by_the_address_of_their_master(
    engine: str, flag: str, local: bool, near: bool
) -> None:
    given = given_options([flag])
    assert (is_local_master(engine, given), is_on_this_machine(engine, given)) == (local, near)


@pytest.mark.parametrize("more", [(), ("--experiments=use_fast_avro",)])
@pytest.mark.parametrize("engine", ["spark", "flink"])
def test_the_workers_of_a_cluster_start_what_is_in_the_image(engine: str, more: tuple[str, ...]) -> None:
    flags = (*MASTERS[engine], *more)
    options = PipelineOptions([*flags_of(filled(engine, *flags, cluster=CLUSTER)), *flags])
    found = create_runner(options.get_all_options()["runner"]).default_environment(options)
    # They would be read from a temporary folder of this machine.
    assert list(found.artifacts()) == []
    environment = found.to_runner_api(None)
    assert environment.urn == "beam:env:process:v1"
    process = beam_runner_api_pb2.ProcessPayload.FromString(environment.payload)
    assert (process.command, dict(process.env)) == (PROCESS["command"], PROCESS["env"])
