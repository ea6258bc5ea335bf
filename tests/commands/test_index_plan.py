from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from commands.main import SUBCOMMANDS
from index_builder.planning.plan import plan_index
from pipelines.flag_types import positive, size
from pipelines.flags import add_index_flags, index_config
from tests.conftest import REPOSITORY, Catalog, Finished

Cli = Callable[..., Finished]
MILLION = ("--vectors", 1_000_000, "--dimension", 256)


def test_a_plan_without_a_store_has_the_documented_fields(cli: Cli) -> None:
    done = cli("index", "plan", *MILLION, "--json")
    assert done.code == 0
    page = (REPOSITORY / "docs/commands/index.md").read_text(encoding="utf-8")
    assert all(f"`{field}`" in page for field in done.json)
    plan = plan_index(1_000_000, 256, "cosine")
    assert (done.json["factory"], done.json["family"], done.json["why"]) == (plan.factory, plan.family, plan.why)
    assert done.json["index_bytes"] == sum(done.json["index_terms"].values())
    assert done.json["bytes_per_vector"] == pytest.approx(done.json["index_bytes"] / 1e6, abs=0.001)
    assert done.json["serving_ram_bytes"] == sum(done.json["serving_terms"].values())
    assert set(done.json["seconds_by_stage"]) == {"train", "encode", "ground_truth", "assemble"}
    assert all(seconds > 0 for seconds in done.json["seconds_by_stage"].values())
    assert f"{plan.factory}, cosine" in done.out
    assert f"why: {plan.why}" in done.out


def test_budgets_and_targets_reach_the_plan(cli: Cli) -> None:
    assert cli("index", "plan", *MILLION, "--recall-target", 0.95, "--json").json["family"] == "ivf_pq_fastscan"
    assert cli("index", "plan", *MILLION, "--bytes-per-vector", 60, "--json").json["family"] == "ivf_rabitq"
    assert (
        cli("index", "plan", *MILLION, "--memory-budget", "45MB", "--rerank", "none", "--json").json["code_bytes"] == 24
    )
    assert cli("index", "plan", *MILLION, "--metric", "l1", "--json").json["family"] == "flat"
    assert cli("index", "plan", *MILLION, "--factory", "HNSW32", "--json").json["family"] == "whole"
    refused = cli("index", "plan", *MILLION, "--memory-budget", "5MB")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(
        "catalog-indexer index plan: --memory-budget 5MB is less than the 8MB that row numbers"
    )


def test_a_store_is_planned_for_as_it_is_indexed(
    make_catalog: Callable[..., Catalog], tmp_path: Path, cli: Cli
) -> None:
    catalog = make_catalog(20)
    assert cli("embed", "--catalog", catalog.csv, "--output", tmp_path / "e").code == 0
    planned = cli("index", "plan", "--embeddings", tmp_path / "e", "--json").json
    built = cli("index", "--embeddings", tmp_path / "e", "--artifacts", tmp_path / "a", "--name", "shop", "--json").json
    assert (planned["factory"], planned["metric"], planned["vectors"]) == (built["index"], built["metric"], 20)
    assert planned["index_bytes"] == built["bytes"]
    assert (
        f"plan: {planned['factory']}, {planned['metric']}; {planned['why']}"
        in cli("index", "--embeddings", tmp_path / "e", "--artifacts", tmp_path / "b", "--name", "shop").err
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "give --embeddings, or --vectors and --dimension"),
        (("--vectors", 5), "give --embeddings, or --vectors and --dimension"),
        ((*MILLION, "--snapshot", 1), "--snapshot is of a store: give --embeddings with it"),
        (
            (*MILLION, "--embeddings", "e"),
            "--embeddings says how many vectors there are: drop --vectors and --dimension",
        ),
        ((*MILLION, "--metric", "angular"), "--metric angular is unknown"),
    ],
)
def test_wrong_usage_is_one_sentence(flags: tuple[object, ...], message: str, cli: Cli) -> None:
    refused = cli("index", "plan", *flags)
    assert refused.code == 2
    assert refused.err.startswith(f"catalog-indexer index plan: {message}")


def test_a_store_without_vectors_is_refused(tmp_path: Path, cli: Cli) -> None:
    refused = cli("index", "plan", "--embeddings", tmp_path / "none")
    assert refused.code == 2
    assert "has no vectors; run catalog-indexer embed first" in refused.err


def test_a_page_names_every_flag_of_a_command_of_two_words() -> None:
    """Its own, or that of its first word."""
    for command in SUBCOMMANDS:
        own, first = (
            REPOSITORY / f"docs/commands/{name}.md" for name in (command.replace(" ", "-"), command.split()[0])
        )
        page = (own if own.exists() else first).read_text(encoding="utf-8")
        assert f"catalog-indexer {command} " in page
        parser = argparse.ArgumentParser(add_help=False)
        importlib.import_module(f"commands.{command.replace(' ', '_')}").add_arguments(parser)
        for action in parser._actions:
            assert any(f"`{flag}`" in page or f"{flag} " in page for flag in action.option_strings), action


def test_the_flags_of_index_make_its_configuration() -> None:
    parser = argparse.ArgumentParser()
    add_index_flags(parser)
    places = ["--embeddings", "e", "--artifacts", "a", "--name", "n"]
    given = ["--memory-budget", "2GiB", "--bytes-per-vector", "40", "--recall-target", "0.9", "--latency-target", "3.5"]
    config = index_config(parser.parse_args([*places, *given, "--factory", "Flat"]), ())
    assert (config.memory_budget, config.bytes_per_vector, config.factory) == (2 << 30, 40.0, "Flat")
    assert (config.recall_target, config.latency_target) == (0.9, 3.5)
    nothing = index_config(parser.parse_args(places), ())
    assert (nothing.memory_budget, nothing.bytes_per_vector, nothing.factory) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20MB", 20_000_000),
        ("2GiB", 2 << 30),
        ("512KiB", 512 << 10),
        ("1.5gb", 1_500_000_000),
        ("4096", 4096),
        ("7B", 7),
        ("1 TB", 10**12),
    ],
)
def test_sizes_are_read(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "20 MBit", "0", "0.1", "1e6", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        size(text)


@pytest.mark.parametrize("text", ["0", "-1", "inf", "nan", "x"])
def test_targets_are_positive(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        positive(text)
