from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from catalog import storage
from catalog.errors import UsageError
from commands.gc import add_arguments as add_gc_flags
from index_builder.publishing.reachable import Retention
from pipelines.dedupe_flags import add_dedupe_flags, dedupe_config
from pipelines.engine_presets import ENGINES
from pipelines.flags import add_embed_flags, add_index_flags, embed_config, index_config
from pipelines.gate_flags import add_gate_flags
from pipelines.nightly_config import NightlyConfig, read_nightly, schema

LEAST: dict[str, Any] = {
    "name": "shop",
    "artifacts": "/a",
    "embeddings": "/e",
    "reports": "/r",
    "embed": {"catalog": "/c.csv"},
}
# A value for every key, none of them the default.
EMBED = {
    "catalog": ["/c.csv", "gs://b/*.parquet"],
    "encoder": "savedmodel:/m?size=96",
    "images_root": "/i",
    "allow_http": True,
    "allow_root": ["/i", "gs://b/i"],
    "image_template": "{a}.jpg",
    "item_id_column": "a",
    "image_column": "b",
    "product_id_column": "c",
    "source_version_column": "d",
    "changes": "column",
    "precision": "bfloat16",
    "inference_engine": "openvino",
    "vector_type": "float32",
    "partitions": 32,
    "max_bytes": 1000,
    "max_pixels": 2000,
    "max_frames": 3,
    "compact_at": 0.125,
    "may_lose": 1,
    "threads": 3,
    "accelerator": "type:nvidia-l4;count:1",
    "worker_memory": "16GB",
}
INDEX = {
    "channel": "canary",
    "metric": "cosine",
    "rerank": "none",
    "memory_budget": "2GiB",
    "bytes_per_vector": 40.5,
    "recall_target": 0.875,
    "latency_target": 7,
    "parts": 2,
    "factory": "IVF4,SQ8",
    "stratify": "category",
    "queries": 50,
    "retrain": True,
    "build_memory": 1 << 20,
    "worker_memory": "32GB",
}
GATES = {
    "recall_floor": 0.25,
    "recall_drop": 0.5,
    "count_drift": 3,
    "list_imbalance": 4.5,
    "self_lookup": 0.75,
    "overlap": 0.125,
    "allow_encoder_change": True,
}
DEDUPE = {
    "output": "/d",
    "tiers": "bytes,embedding",
    "calibration": "/k",
    "threshold": 0.8,
    "thumbnail_threshold": 0.95,
    "phash_radius": 3,
    "phash_256_radius": 20,
    "verify": "pixels",
    "turned": True,
    "normalize": 0.5,
    "across": True,
    "group_column": "vendor",
    "label_column": "label",
    "keeper": "bytes",
    "protect": ["vendor=acme", "/ids.txt"],
    "ignore": "/i.csv",
    "placeholder_products": 5,
    "placeholder_groups": 3,
    "assign_splits": "train=0.9,test=0.1",
    "pictures": 10,
    "worker_memory": "8GB",
}
LABELS = {"team": "shop = 1", "note": "--x"}


def read(folder: Path, value: Any, *beam: str) -> NightlyConfig:
    path = folder / "nightly.yaml"
    path.write_text(yaml.safe_dump(value) if not isinstance(value, str) else value)
    return read_nightly(str(path), beam)


def flags_of(*add: Any) -> set[str]:
    parser = argparse.ArgumentParser(add_help=False)
    for each in add:
        each(parser)
    return {action.dest for action in parser._actions}


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())


def test_the_keys_are_the_flags_of_the_jobs_but_for_those_that_no_night_needs() -> None:
    properties = schema()["properties"]
    embed, index = properties["embed"]["properties"], properties["index"]["properties"]
    assert set(embed) - {"fail_on_rejects"} == flags_of(add_embed_flags) - {"output"} == set(EMBED)
    gates = set(index["gates"]["properties"])
    by_hand = {"force", "reason", "pin", "snapshot"}
    elsewhere = {"embeddings", "artifacts", "name", "label"}
    assert gates == flags_of(add_gate_flags) - by_hand == set(GATES)
    of_a_night = {"embeddings", "datasets", "snapshot", "since"}
    assert set(properties["dedupe"]["properties"]) == flags_of(add_dedupe_flags) - of_a_night == set(DEDUPE)
    assert set(index) - {"gates", "labels"} == flags_of(add_index_flags) - gates - by_hand - elsewhere == set(INDEX)


def test_every_key_means_what_the_flag_of_its_name_means(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    chosen = {**EMBED, "encoder": f"savedmodel:{tmp_path}?size=96"}
    value = {**LEAST, "embed": chosen, "index": {**INDEX, "gates": GATES, "labels": LABELS}, "beam": ["--job_name=x"]}
    night = read(tmp_path, value, "--project=p")

    def flags(values: dict[str, Any]) -> list[str]:
        found: list[str] = []
        for name, each in values.items():
            flag = f"--{name.replace('_', '-')}"
            if name == "catalog":
                found += [flag, *each]
            elif isinstance(each, list):
                found += [f"{flag}={one}" for one in each]
            else:
                found += [flag] if each is True else [f"{flag}={each}"]
        return found

    parser = argparse.ArgumentParser()
    add_embed_flags(parser)
    embed = parser.parse_args([*flags(chosen), "--output=/e"])
    assert night.embed == embed_config(embed, ("--job_name=x", "--project=p"))
    parser = argparse.ArgumentParser()
    add_index_flags(parser)
    labels = [f"--label={name}={text}" for name, text in LABELS.items()]
    stores = ["--embeddings=/e", "--artifacts=/a", "--name=shop"]
    index = parser.parse_args([*flags({**INDEX, **GATES}), *labels, *stores])
    assert night.index == index_config(index, ("--job_name=x", "--project=p"))
    assert night.index.labels == LABELS


def test_the_reports_of_duplicates_are_those_of_the_flags(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("a\nb\n")
    (tmp_path / "i.csv").write_text("item_id,other_item_id\na,b\n")
    chosen = {name: value for name, value in DEDUPE.items() if name != "calibration"}
    chosen |= {"protect": ["vendor=acme", "ids.txt"], "ignore": "i.csv", "output": "d"}
    night = read(tmp_path, {**LEAST, "dedupe": chosen}, "--project=p")
    parser = argparse.ArgumentParser()
    add_dedupe_flags(parser)
    found: list[str] = ["--embeddings=/e"]
    for name, each in {**chosen, "output": tmp_path / "d", "ignore": tmp_path / "i.csv"}.items():
        for one in [str(tmp_path / "ids.txt"), "vendor=acme"] if name == "protect" else [each]:
            flag = f"--{name.replace('_', '-')}"
            found += [flag] if one is True else [f"{flag}={one}"]
    assert night.dedupe is not None
    assert night.dedupe.config == dedupe_config(parser.parse_args(found), ("--project=p",))
    assert night.dedupe.folder == str(tmp_path / "d")
    assert read(tmp_path, LEAST).dedupe is None


def test_what_is_left_out_is_the_default_of_the_flag(tmp_path: Path) -> None:
    night = read(tmp_path, LEAST)
    parser = argparse.ArgumentParser()
    add_embed_flags(parser)
    assert night.embed == embed_config(parser.parse_args(["--catalog", "/c.csv", "--output=/e"]), ())
    parser = argparse.ArgumentParser()
    add_index_flags(parser)
    stores = ["--embeddings=/e", "--artifacts=/a", "--name=shop"]
    assert night.index == index_config(parser.parse_args(stores), ())
    assert (night.lease, night.fail_on_rejects, night.retention) == (900, None, None)
    assert night.lock == "/a/shop/locks/nightly.json"


def test_the_engine_of_the_file_is_that_of_both_jobs_and_the_one_of_the_command_wins(tmp_path: Path) -> None:
    assert schema()["properties"]["engine"]["enum"] == list(ENGINES)
    value = {**LEAST, "engine": "spark", "beam": ["--job_endpoint=localhost:8099"]}
    night = read(tmp_path, value)
    assert (night.embed.runs_on, night.index.runs_on, night.settings["engine"]) == ("spark", "spark", "spark")
    night = read_nightly(str(tmp_path / "nightly.yaml"), ("--parallelism=2",), "flink")
    assert (night.embed.runs_on, night.index.runs_on, night.settings["engine"]) == ("flink", "flink", "flink")
    without = read(tmp_path, LEAST)
    assert (without.embed.runs_on, without.index.runs_on) == (None, None)
    assert "engine" not in without.settings


def test_what_is_retained_is_what_gc_is_told(tmp_path: Path) -> None:
    times = {"grace": "2h", "young": "30min", "abandoned": "10d"}
    night = read(tmp_path, {**LEAST, "retain": {"keep": 3, **times}})
    assert night.retention == Retention(3, 7_200, 1_800, 864_000)
    assert read(tmp_path, {**LEAST, "retain": {"keep": 2}}).retention == Retention(2)
    parser = argparse.ArgumentParser(add_help=False)
    add_gc_flags(parser)
    flags = {action.dest for action in parser._actions} - {"artifacts", "name", "delete", "json"}
    assert set(schema()["properties"]["retain"]["properties"]) == flags


def test_relative_places_are_below_the_folder_of_the_file(tmp_path: Path) -> None:
    value = {
        **LEAST,
        "artifacts": "a",
        "embeddings": "../e",
        "reports": "./r/",
        "embed": {
            "catalog": ["c/*.csv", "/d.csv", "gs://b/e.csv"],
            "images_root": "i",
            "encoder": "savedmodel:m?size=9",
        },
    }
    for name in ("m/saved_model.pb", "w/x.weights.h5"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    night = read(tmp_path, value)
    assert night.index.artifacts == f"{tmp_path}/a"
    assert night.embed.output == night.index.embeddings == f"{tmp_path.parent}/e"
    assert night.reports == f"{tmp_path}/r"
    assert night.embed.source.catalogs == (f"{tmp_path}/c/*.csv", "/d.csv", "gs://b/e.csv")
    assert night.embed.source.images_root == f"{tmp_path}/i"
    assert night.embed.encoder == f"savedmodel:{tmp_path}/m?size=9"
    for spec, expected in (
        ("color-histogram", "color-histogram"),
        ("tfhub:google/x/1", "tfhub:google/x/1"),
        ("keras:MobileNetV2@imagenet", "keras:MobileNetV2@imagenet"),
        ("keras:MobileNetV2@w/x.weights.h5", f"keras:MobileNetV2@{tmp_path}/w/x.weights.h5"),
    ):
        assert read(tmp_path, {**LEAST, "embed": {"catalog": "c", "encoder": spec}}).embed.encoder == expected


def test_a_file_in_a_bucket_has_its_places_in_the_bucket() -> None:
    value = {**LEAST, "artifacts": "a", "embeddings": "../e", "embed": {"catalog": "/c.csv"}}
    storage.write("memory://bucket/config/shop/nightly.yaml", yaml.safe_dump(value).encode())
    night = read_nightly("memory://bucket/config/shop/nightly.yaml")
    assert night.index.artifacts == "memory://bucket/config/shop/a"
    assert night.embed.output == "memory://bucket/config/e"
    value["embeddings"] = "../../../e"
    storage.write("memory://bucket/config/shop/nightly.yaml", yaml.safe_dump(value).encode())
    with pytest.raises(UsageError, match=r"\.\./\.\./\.\./e leads out of memory://bucket; write the whole URL"):
        read_nightly("memory://bucket/config/shop/nightly.yaml")


def changed(path: str, value: Any) -> dict[str, Any]:
    """The least configuration with one more value."""
    whole: dict[str, Any] = {**LEAST, "embed": dict(LEAST["embed"])}
    part = whole
    *sections, key = path.split("/")
    for section in sections:
        part = part.setdefault(section, {})
    part[key] = value
    return whole


def refusal(folder: Path, path: str, value: Any) -> str:
    """What is said to the least configuration with one value that is wrong."""
    with pytest.raises(UsageError) as refused:
        read(folder, changed(path, value))
    return str(refused.value)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("index/gates/overlap", 1.5, "index.gates.overlap is 1.5; expected a number from 0 to 1"),
        ("index/gates/overlap", True, "index.gates.overlap is true; expected a number from 0 to 1"),
        ("index/gates/overlapp", 1, "index.gates.overlapp is no key of a night; did you mean index.gates.overlap?"),
        ("nam", "x", "nam is no key of a night; did you mean name?"),
        ("lock/zzz", "x", "lock.zzz is no key of a night; the keys there are: lease"),
        ("index/force", ["overlap"], "index.force is no key of a night; "),
        ("name", 7, "name is 7; expected a name of letters, digits, '.', '_' and '-', a letter or a digit first"),
        ("index/memory_budget", "lots", 'index.memory_budget is "lots"; expected a size such as 500MB, 2GiB or 4096'),
        ("index/memory_budget", "0MB", "index.memory_budget: 0MB is not above 0"),
        ("index/labels/team", 7, "index.labels.team is 7; expected text (in quotes where it looks like a number)"),
        ("index/labels/a=b", "x", 'index.labels has the key "a=b"; expected a name without ='),
        ("index/metric", "hamming", 'index.metric is "hamming"; expected one of cosine, dot, l2, l1'),
        ("index", None, "index is null; expected the keys channel, "),
        ("index/gates", [1], "index.gates is [1]; expected the keys recall_floor, "),
        ("embed/catalog", [], "embed.catalog is []; expected a path, a URL, or a list of them"),
        ("embed/catalog", ["a", 3], "embed.catalog[1] is 3; expected a path or a URL"),
        ("embed/threads", 0, "embed.threads is 0; expected a whole number, at least 1"),
        ("embed/threads", 1.5, "embed.threads is 1.5; expected a whole number, at least 1"),
        ("embed/source_version_column", "x", "embed.source_version_column is for embed.changes: column"),
        ("embeddings", "http://h/e", "http://h/e: writing to http:// is not supported"),
        ("lock/lease", "1s", "lock.lease is '1s'; expected 10s at least"),
        ("lock/lease", 900, "lock.lease is 900; expected a time such as 90s, 15min, 24h or 7d"),
        ("retain/grace", "24h", "retain.keep is missing; expected a whole number, at least 1"),
        ("retain", {"keep": 0}, "retain.keep is 0; expected a whole number, at least 1"),
        ("retain", {"keep": 3, "grace": "1min"}, "--grace is 1min; at least 1h"),
        ("beam", "--x", 'beam is "--x"; expected a list'),
        ("beam", ["x"], 'beam[0] is "x"; expected a flag of Beam such as --runner=DataflowRunner'),
    ],
)
def test_an_error_is_one_sentence_with_the_file_the_path_the_value_and_what_would_be_right(
    tmp_path: Path, path: str, value: Any, said: str
) -> None:
    told = refusal(tmp_path, path, value)
    assert told.startswith(f"{tmp_path}/nightly.yaml: {said}")
    assert "\n" not in told


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    for name in ("name", "artifacts", "embeddings", "reports", "embed"):
        with pytest.raises(UsageError, match=rf"nightly.yaml: {name} is missing; expected "):
            read(tmp_path, {key: value for key, value in LEAST.items() if key != name})
    with pytest.raises(UsageError, match=r"nightly.yaml: embed.catalog is missing; expected a path, a URL, or a list"):
        read(tmp_path, {**LEAST, "embed": {"encoder": "color-histogram"}})
    for empty in ("", "- a\n", "text\n"):
        with pytest.raises(UsageError, match=r"nightly.yaml: the whole is .*; expected the keys name, "):
            read(tmp_path, empty)
    with pytest.raises(UsageError, match=r"^--config /none.yaml: no such file$"):
        read_nightly("/none.yaml")


def test_the_settings_for_the_report_hold_no_secrets(tmp_path: Path) -> None:
    value = changed("embed/catalog", ["https://user:SECRET@h/c.csv?sig=SECRET"])
    flags = ["--s3_secret_access_key=SECRET", "--project=p"]
    night = read(tmp_path, {**value, "beam": flags}, "--s3_session_token", "SECRET", "--region=r")
    assert "SECRET" not in str(night.settings)
    assert night.settings["embed"]["catalog"] == ["https://h/c.csv"]
    assert night.settings["beam"] == [
        "--s3_secret_access_key=…",
        "--project=p",
        "--s3_session_token",
        "…",
        "--region=r",
    ]
