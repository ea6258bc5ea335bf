"""The Flex Templates: their parameters are flags of the jobs, and what is sent to launch them fits."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from google.cloud import dataflow

from pipelines.flex_template import FLAGS, as_flags
from pipelines.runner import pipeline_options
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "examples" / "dataflow"
JOBS = sorted(FLAGS)

# Of every parameter: values that it takes, and values that it does not.
VALUES: dict[str, tuple[list[str], list[str]]] = {
    "job": ([], ["", "serve", "embedding"]),
    "catalog": (
        ["gs://shop/catalog.csv", "gs://shop/day=1/*.parquet", "s3://shop/c.jsonl.gz"],
        ["catalog.csv", "gs://"],
    ),
    "output": (["gs://shop/embeddings", "gs://shop"], ["/disk/embeddings", "gs:///x", "gs://shop/a b"]),
    "sdk_container_image": (
        [
            "europe-west1-docker.pkg.dev/shop/catalog/indexer:1.0-cpu",
            "localhost:5000/indexer",
            f"gcr.io/shop/indexer@sha256:{'0' * 64}",
        ],
        ["indexer", "gcr.io/shop/indexer@sha256:12", "https://gcr.io/shop/indexer"],
    ),
    "encoder": (
        ["color-histogram", "savedmodel:gs://shop/models/v3?size=224", "tfhub:google/x/1", "keras:ResNet50@imagenet"],
        ["histogram", "savedmodel:", "keras"],
    ),
    "images_root": (["gs://shop/photos/"], ["photos"]),
    "image_template": (["gs://shop/{image}.jpg", "{a}/{b}"], ["image", "{}"]),
    "item_id_column": (["sku"], [""]),
    "image_column": (["image"], [""]),
    "product_id_column": (["product id"], [""]),
    "allow_http": (["true", "false"], ["yes", "1", "TRUE"]),
    "allow_root": (["gs://shop/photos", "https://img.shop.com/"], ["photos"]),
    "partitions": (["1", "4096"], ["0", "-2", "1e3"]),
    "vector_type": (["float16", "float32"], ["float64", "int8"]),
    "precision": (["bfloat16"], ["int8"]),
    "changes": (["store", "column", "content"], ["date"]),
    "source_version_column": (["etag"], [""]),
    "may_lose": (["0.5", "0", "1", "1.0", ".25"], ["2", "50%", "1.5"]),
    "threads": (["2"], ["0", "two"]),
    "accelerator": (
        ["type:nvidia-l4;count:1;install-nvidia-driver", "type:nvidia-tesla-t4;count:2;install-nvidia-driver:5xx"],
        ["nvidia-l4", "type:nvidia-l4"],
    ),
    "worker_memory": (["24GB", "1.5GiB"], ["24", "much"]),
    "embeddings": (["gs://shop/embeddings"], ["embeddings"]),
    "artifacts": (["s3://shop/artifacts"], ["./artifacts"]),
    "name": (["products", "products-v2"], ["", "a/b", ".hidden"]),
    "channel": (["prod", "canary-2"], ["", "a b"]),
    "snapshot": (["12"], ["newest", "0"]),
    "metric": (["cosine", "l1"], ["angular"]),
    "rerank": (["auto", "none"], ["yes"]),
    "memory_budget": (["500MB", "2GiB", "4096"], ["2 gigabytes", "-1MB"]),
    "recall_target": (["0.9", "1"], ["90", "1.1"]),
    "latency_target": (["5", "2.5"], ["5ms", "-1"]),
    "factory": (["OPQ64_256,IVF4096,PQ64", "IVF4096,PQ64x4fs,Refine(SQfp16)"], ["IVF4096 PQ64", "x;y"]),
    "parts": (["4"], ["0"]),
    "stratify": (["category"], [""]),
    "queries": (["1000"], ["0"]),
    "retrain": (["true"], ["on"]),
    "build_memory": (["8GiB"], ["a lot"]),
    "label": (["team=shop", "note="], ["team", "=shop"]),
    "pin": (["Black Friday"], [""]),
    "config": (["gs://shop/config/nightly.yaml"], ["nightly.yaml", "gs://shop", "gs://shop/*.yaml"]),
}


def template(job: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / "templates" / f"{job}.json").read_text()))


def parser_of(job: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    FLAGS[job](parser)
    return parser


def matches(parameter: dict[str, Any], value: str) -> bool:
    return all(re.search(regex, value) for regex in parameter["regexes"])


@pytest.mark.parametrize("job", JOBS)
def test_a_template_has_only_fields_that_dataflow_knows(job: str) -> None:
    metadata = template(job)
    known = dataflow.TemplateMetadata.meta.fields
    assert {"name", "description", "parameters"} <= set(metadata) <= {*known}
    fields = {
        field.json_name for field in dataflow.ParameterMetadata.pb(dataflow.ParameterMetadata()).DESCRIPTOR.fields
    }
    for parameter in metadata["parameters"]:
        assert {"name", "label", "helpText", "isOptional", "paramType", "regexes"} <= set(parameter) <= fields
        assert parameter["paramType"] in dataflow.ParameterType.__members__
    names = [parameter["name"] for parameter in metadata["parameters"]]
    assert len(set(names)) == len(names)
    # What must be given stands first.
    optional = [parameter["isOptional"] for parameter in metadata["parameters"]]
    assert optional == sorted(optional)


@pytest.mark.parametrize("job", JOBS)
def test_every_parameter_is_a_flag_and_required_ones_are_required(job: str) -> None:
    flags = {action.dest: action for action in parser_of(job)._actions}
    found = {parameter["name"]: parameter for parameter in template(job)["parameters"]}
    for name, parameter in found.items():
        if name == "job":
            assert (parameter["regexes"], parameter["isOptional"]) == ([f"^{job}$"], False)
        elif name == "sdk_container_image":
            pipeline_options([f"--{name}=gcr.io/shop/indexer"])  # Which refuses what Beam does not know.
            assert parameter["isOptional"] is False
        else:
            assert parameter["isOptional"] is not flags[name].required, name
            takes_no_value = flags[name].nargs == 0
            assert (parameter["paramType"] == "BOOLEAN") is takes_no_value
            assert (parameter["paramType"] == "NUMBER") is (flags[name].type is not None and matches_digits_only(name))
    assert {name for name, action in flags.items() if action.required} <= set(found)


def matches_digits_only(name: str) -> bool:
    return all(value.isdigit() for value in VALUES[name][0])


@pytest.mark.parametrize("job", JOBS)
def test_regexes_take_what_the_flags_take_and_refuse_the_rest(job: str) -> None:
    parser = parser_of(job)
    for parameter in template(job)["parameters"]:
        name = parameter["name"]
        taken, refused = VALUES[name]
        for value in taken:
            assert matches(parameter, value), (name, value)
            if name != "sdk_container_image":
                flags = as_flags(parser, [f"--{name}={value}"])
                required = [
                    f for a in parser._actions if a.required and a.dest != name for f in (a.option_strings[0], "x")
                ]
                parser.parse_args([*flags, *required])
        for value in refused:
            assert not matches(parameter, value), (name, value)
        for regex in parameter["regexes"]:
            assert regex.startswith("^")
            assert regex.endswith("$")
            # Nothing that only one dialect of regular expressions knows: Dataflow's is POSIX's, extended.
            assert not re.search(r"\\[a-zA-Z]|\(\?|[*+?}]\?|\[:", regex), regex


@pytest.mark.parametrize("job", JOBS)
def test_what_is_sent_to_launch_fits_the_template(job: str) -> None:
    request = json.loads((FOLDER / "launch" / f"{job}.json").read_text())
    (body,) = request.values()
    dataflow.LaunchFlexTemplateRequest.from_json(json.dumps({"launchParameter": body}), ignore_unknown_fields=False)
    assert list(request) == ["launchParameter"]
    given = body["parameters"]
    found = {parameter["name"]: parameter for parameter in template(job)["parameters"]}
    assert {name for name, parameter in found.items() if not parameter["isOptional"]} <= set(given) <= set(found)
    for name, value in given.items():
        filled = value.replace("BUCKET", "shop").replace("REGION", "europe-west1").replace("PROJECT", "shop")
        assert matches(found[name], filled.replace("TAG", "1-cpu")), name
    assert body["containerSpecGcsPath"] == f"gs://BUCKET/templates/{job}.json"
    assert body["environment"]["launcherMachineType" if job != "nightly" else "machineType"]


def stand_ins(folder: Path, log: Path, *, scheduled: bool = False) -> dict[str, str]:
    """`docker` and `gcloud` that only write down what they are asked."""
    for name in ("docker", "gcloud"):
        tool = folder / name
        known = 'case "$*" in *"jobs describe"*) exit 1;; esac\n' if not scheduled else ""
        tool.write_text(
            f'#!/bin/sh\n{known}echo {name} "$@" >> {log}\ncase "$*" in *--message-body-from-file*) '
            f'for last; do [ "$before" = --message-body-from-file ] && cp "$last" {folder}/body.json; '
            'before="$last"; done;; esac\nexit 0\n'
        )
        tool.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "PROJECT": "shop", "REGION": "europe-west1", "BUCKET": "bucket"}


def run(script: str, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FOLDER / script], cwd=REPOSITORY, env=settings, capture_output=True, text=True, timeout=30, check=False
    )


def test_deploying_builds_one_image_and_three_templates_of_it(tmp_path: Path) -> None:
    log = tmp_path / "asked"
    done = run("deploy.sh", {**stand_ins(tmp_path, log), "TARGET": "gpu", "TAG": "7"})
    assert done.returncode == 0, done.stderr
    image = "europe-west1-docker.pkg.dev/shop/catalog/indexer:7"
    assert done.stdout.splitlines()[-1] == image
    asked = log.read_text().splitlines()
    assert asked[:2] == [f"docker build --target gpu --build-arg RUN_AS=10001 --tag {image} .", f"docker push {image}"]
    for job, line in zip(("embed", "index", "nightly"), asked[2:], strict=True):
        assert line == (
            f"gcloud dataflow flex-template build gs://bucket/templates/{job}.json --image {image} "
            f"--sdk-language PYTHON --metadata-file examples/dataflow/templates/{job}.json"
        )


@pytest.mark.parametrize("scheduled", [False, True])
def test_a_night_is_scheduled_or_scheduled_anew(tmp_path: Path, scheduled: bool) -> None:
    log, config = tmp_path / "asked", tmp_path / "mine.yaml"
    config.touch()
    settings = {**stand_ins(tmp_path, log, scheduled=scheduled), "TAG": "7", "CONFIG": str(config)}
    done = run("schedule.sh", settings)
    assert done.returncode == 0, done.stderr
    asked = [line for line in log.read_text().splitlines() if "jobs describe" not in line]
    assert asked[0] == f"gcloud storage cp {config} gs://bucket/config/nightly.yaml"
    assert f"scheduler jobs {'update' if scheduled else 'create'} http catalog-nightly" in asked[1]
    assert "/projects/shop/locations/europe-west1/flexTemplates:launch" in asked[1]
    body = json.loads((tmp_path / "body.json").read_text())["launchParameter"]
    assert body["parameters"] == {
        "job": "nightly",
        "config": "gs://bucket/config/nightly.yaml",
        "sdk_container_image": "europe-west1-docker.pkg.dev/shop/catalog/indexer:7",
    }
    assert not any(word in json.dumps(body) for word in ("PROJECT", "REGION", "BUCKET", "TAG"))


def test_what_schedules_asks_for_what_it_needs_before_anything_else(tmp_path: Path) -> None:
    log, config = tmp_path / "asked", tmp_path / "mine.yaml"
    settings = {**stand_ins(tmp_path, log), "TAG": "7"}
    for missing, said in (
        (settings, "CONFIG: the path of your configuration"),
        ({**settings, "CONFIG": str(config)}, f"CONFIG is {config}: no such file"),
        ({name: value for name, value in {**settings, "CONFIG": "x"}.items() if name != "TAG"}, "TAG: "),
    ):
        refused = run("schedule.sh", missing)
        assert refused.returncode != 0
        assert said in refused.stderr
    refused = run("deploy.sh", {"PATH": settings["PATH"], "PROJECT": "shop"})
    assert "REGION: " in refused.stderr
    assert not log.exists()


def test_the_launched_program_is_the_one_of_the_image() -> None:
    assert "from pipelines.flex_template import main" in (FOLDER / "main.py").read_text()
    for script in FOLDER.glob("*.sh"):
        assert os.access(script, os.X_OK)
