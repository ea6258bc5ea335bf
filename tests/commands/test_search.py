from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Finished
from tests.index_builder.vectors import clustered
from tests.index_builder.versions import publish_version

Cli = Callable[..., Finished]
COUNT, DIMENSION = 800, 8
POINTS = [
    {"nprobe": nprobe, "rerank": 4, "ef_search": 0, "recall": {"1": recall, "10": recall}}
    for nprobe, recall in ((1, 0.5), (8, 0.9))
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[object], list[dict[str, Any]], np.ndarray]:
    root = tmp_path_factory.mktemp("artifacts")
    vectors = clustered(COUNT, DIMENSION)
    rows = publish_version(root, vectors, "l2", "IVF8,SQ4", {"nprobe": 1, "rerank": 4}, points=POINTS)
    return ["search", "--artifacts", root, "--name", "shop"], rows, vectors


def test_many_vectors_are_answered_as_one_batch(shop: tuple, cli: Cli, tmp_path: Path) -> None:
    command, rows, vectors = shop
    for name, wanted in (("one", vectors[3]), ("single", vectors[3:4]), ("many", vectors[3:9]), ("none", vectors[:0])):
        np.save(tmp_path / f"{name}.npy", wanted)
    one, single, many, none = (
        cli(*command, "--vector", tmp_path / f"{name}.npy", "-k", 4, "--json").json
        for name in ("one", "single", "many", "none")
    )
    assert set(one) == {"version", "results"}
    assert single == {"version": "v1", "queries": [{"results": one["results"]}]}
    assert many["queries"][0] == single["queries"][0]
    assert [query["results"][0]["item_id"] for query in many["queries"]] == [row["item_id"] for row in rows[3:9]]
    assert none["queries"] == []
    lines = cli(*command, "--vector", tmp_path / "many.npy", "-k", 2).out.splitlines()
    assert [line for line in lines if line.startswith("query ")] == [f"query {number}" for number in range(6)]
    assert len(lines) == 1 + 6 * 4


def test_the_operating_point_can_be_chosen(shop: tuple, cli: Cli, tmp_path: Path) -> None:
    command, _, _ = shop
    np.save(tmp_path / "v.npy", clustered(60, DIMENSION, seed=2))

    def found(*flags: object) -> list[list[str]]:
        answer = cli(*command, "--vector", tmp_path / "v.npy", *flags, "--json").json
        return [[result["item_id"] for result in query["results"]] for query in answer["queries"]]

    assert found() == found("--nprobe", 1) == found("--recall-target", 0.5)
    assert found("--nprobe", 8) == found("--recall-target", 0.9)
    assert found("--nprobe", 8) != found()


def test_results_are_chosen_by_column_and_by_id(shop: tuple, cli: Cli, tmp_path: Path) -> None:
    command, rows, _ = shop
    item = rows[5]["item_id"]

    def results(*flags: object) -> list[dict[str, Any]]:
        return cli(*command, "--item", item, *flags, "--json").json["results"]

    red = results("--where", "colour=red", "--where", "stock=3", "-k", 40)
    both = [row for row in rows if row["metadata"]["colour"] == "red" and row["metadata"]["stock"] == 3]
    assert sorted(result["item_id"] for result in red) == sorted(row["item_id"] for row in both)
    either = results("--where", "colour=red", "--where", "colour=green", "-k", 30)
    assert {result["metadata"]["colour"] for result in either} == {"red", "green"}
    (tmp_path / "allow").write_text("\n".join([item, rows[9]["item_id"], "unknown"]) + "\n")
    (tmp_path / "block").write_bytes(item.encode() + b"\r\n\r\n")
    assert {result["item_id"] for result in results("--allow-ids", tmp_path / "allow")} == {item, rows[9]["item_id"]}
    assert item not in [result["item_id"] for result in results("--block-ids", tmp_path / "block")]
    assert [r["item_id"] for r in results("--allow-ids", tmp_path / "allow", "--block-ids", tmp_path / "block")] == [
        rows[9]["item_id"]
    ]


def test_a_search_that_cannot_be_is_one_sentence(shop: tuple, cli: Cli, tmp_path: Path) -> None:
    command, _, _ = shop
    np.save(tmp_path / "v.npy", np.ones((2, 2, DIMENSION)))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "strange").write_text("a\nb\n")
    for flags, message in (
        (["--vector", tmp_path / "v.npy"], "float64 [2, 2, 8]; expected numbers of shape [d] or [n, d]"),
        (["--where", "colour"], "--where colour: expected COLUMN=VALUE"),
        (
            ["--where", "size=3"],
            "no column 'size' to choose by; the columns are: colour, price, stock, tags, product_id",
        ),
        (["--where", "stock=many"], "column 'stock' holds int64; 'many' is none"),
        (["--recall-target", "0.95"], "reaches no recall@10 of 0.95; its best is 0.9, at nprobe 8"),
        (["--allow-ids", tmp_path / "none"], f"--allow-ids {tmp_path}/none: there is no such file"),
        (["--block-ids", tmp_path / "bytes"], "is not a file of UTF-8 text, one item id a line"),
        (["--allow-ids", tmp_path / "strange"], "there is none of the 2 allowed items; the first is 'a'"),
    ):
        question = [] if "--vector" in flags else ["--item", "item-00001"]
        refused = cli(*command, *question, *flags)
        assert refused.code == 2
        assert message in refused.err
        assert refused.err.count("\n") == 1
    for flags in (["--nprobe", "0"], ["--recall-target", "1.5"], ["--nprobe", "4", "--recall-target", "0.5"]):
        assert cli(*command, "--item", "item-00001", *flags).code == 2
