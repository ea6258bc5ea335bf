from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.conftest import Nights
from tests.conftest import Finished

Cli = Callable[..., Finished]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def wrong(finished: Finished) -> dict[str, str]:
    """By check, what is wrong."""
    return {each["check"]: each["says"] for each in finished.json["findings"] if not each["ok"]}


def test_an_intact_version_is_said_to_be_so(nights: Nights, cli: Cli) -> None:
    told = cli("verify", *nights.flags)
    files = list(nights.folder(nights.second).iterdir())
    total = sum(path.stat().st_size for path in files)
    assert (told.code, told.out) == (0, "")
    assert told.err.strip() == f"version {nights.second} is intact: {len(files)} files, {total:,} bytes"
    found = cli("verify", *nights.flags, "--json").json
    assert (found["version"], found["intact"], found["files"], found["bytes"]) == (
        nights.second,
        True,
        len(files),
        total,
    )


def test_every_problem_is_told_and_not_only_the_first(nights: Nights, cli: Cli) -> None:
    folder = nights.folder(nights.second)
    flip(folder / "index.faiss")
    flip(folder / "vectors.npy")
    (folder / "golden.npz").unlink()
    told = cli("verify", *nights.flags, "--json")
    assert told.code == 1
    assert set(wrong(told)) == {"index.faiss", "vectors.npy", "golden.npz"}
    assert not told.json["intact"]
    assert "(2 more findings)" in told.err
    assert told.json["problem"] in told.err
    table = cli("verify", *nights.flags).out
    assert table.count("wrong") == 3
    assert cli("verify", *nights.flags, "--version", nights.first).code == 0
    both = cli("verify", *nights.flags, "--all", "--json")
    assert (both.code, [each["intact"] for each in both.json["versions"]]) == (1, [True, False])


def test_a_damaged_manifest_is_told(nights: Nights, cli: Cli) -> None:
    flip(nights.folder(nights.second) / "manifest.json")
    assert "manifest.json is damaged" in wrong(cli("verify", *nights.flags, "--deep", "--json"))["manifest.json"]
    (nights.folder(nights.first) / "manifest.json").unlink()
    both = cli("verify", *nights.flags, "--all")
    assert both.code == 1
    assert "; 1 more versions are damaged" in both.err


def test_a_collected_version_is_not_verified_with_all(nights: Nights, cli: Cli) -> None:
    shutil.rmtree(nights.folder(nights.first))
    assert [each["version"] for each in cli("verify", *nights.flags, "--all", "--json").json["versions"]] == [
        nights.second
    ]


def test_deep_opens_it_asks_it_again_and_looks_at_what_it_was_made_of(nights: Nights, cli: Cli) -> None:
    told = cli("verify", *nights.flags, "--deep", "--json")
    assert told.code == 0, told.out
    says = {each["check"]: each["says"] for each in told.json["findings"]}
    assert "in a fresh process" in says["opened"]
    assert says["golden queries"] == "all 32 are answered as they were"
    assert says["rows"] == "2,510 in the manifest, 2,510 in the items, 2,510 in the index"
    assert says["item ids"] == "0 rows repeat an id or are out of order"
    assert says["answers"].startswith("100.00% of the answers to 100 queries are given again")
    assert "embedding files of snapshot 2 are as they were" in says["source"]
    assert "codebook.json and its files can be read" in says["codebook"]


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "all gone"])
def test_deep_compares_the_embedding_store_with_what_was_indexed(
    nights: Nights, cli: Cli, damage: str, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(nights.embeddings, kept)
    path = sorted((nights.embeddings / "files").rglob("*.parquet"))[0]
    try:
        if damage == "flip":
            flip(path)
        elif damage == "cut":
            path.write_bytes(path.read_bytes()[:-1])
        elif damage == "gone":
            path.unlink()
        else:
            shutil.rmtree(nights.embeddings)
        told = cli("verify", *nights.flags, "--version", nights.first, "--deep", "--json")
    finally:
        shutil.rmtree(nights.embeddings, ignore_errors=True)
        shutil.copytree(kept, nights.embeddings)
    says = {"flip": "its sha256 is not", "cut": "were indexed", "gone": "is missing"}
    if damage == "all gone":
        assert told.code == 0
        source = next(each for each in told.json["findings"] if each["check"] == "source")
        assert "cannot be reached; its files were not compared" in source["says"]
    else:
        assert set(wrong(told)) == {"source"}
        assert says[damage] in wrong(told)["source"]
        assert wrong(told)["source"].startswith("1 of ")


def test_deep_tells_that_the_codebook_is_gone(nights: Nights, cli: Cli) -> None:
    shutil.rmtree(nights.root / "codebooks")
    told = cli("verify", *nights.flags, "--deep", "--json")
    assert set(wrong(told)) == {"codebook"}
    assert told.code == 1


def test_deep_does_not_open_what_is_damaged_and_goes_on_with_the_rest(nights: Nights, cli: Cli) -> None:
    flip(nights.folder(nights.second) / "items.arrow")
    told = cli("verify", *nights.flags, "--deep", "--json")
    assert set(wrong(told)) == {"items.arrow", "opened"}
    assert {"source", "codebook"} <= {each["check"] for each in told.json["findings"]}
