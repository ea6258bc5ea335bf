from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from catalog import storage
from tests.conftest import Catalog, Finished

Cli = Callable[..., Finished]


@pytest.fixture
def flaky(make_catalog: Callable[..., Catalog], tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store after a night on which two reads took too long; one picture is gone and one is none."""
    catalog = make_catalog(20)
    pictures = catalog.csv.parent / "pictures"
    (pictures / "3.png").unlink()
    (pictures / "4.png").write_bytes(b"<html>")
    fetch = storage.fetch

    def late(uri: str, limit: int) -> storage.Fetched:
        if uri.endswith(("/5.png", "/6.png")):
            raise TimeoutError("late")
        return fetch(uri, limit)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "fetch", late)
        done = cli("embed", "--catalog", catalog.csv, "--output", tmp_path / "e", "--json")
    assert done.json["rejects_by_reason"] == {"not_found": 1, "timeout": 2, "unsupported_format": 1}
    return tmp_path / "e"


def test_rejects_are_counted_by_reason_with_a_sample_of_each(flaky: Path, cli: Cli) -> None:
    found = cli("rejects", "--embeddings", flaky, "--sample", 1, "--json").json
    assert (found["snapshot"], found["rejected"], found["transient"]) == (1, 4, 2)
    assert found["counts"] == {"not_found": 1, "timeout": 2, "unsupported_format": 1}
    assert {reason: len(rows) for reason, rows in found["samples"].items()} == {
        "not_found": 1,
        "timeout": 1,
        "unsupported_format": 1,
    }
    gone = found["samples"]["not_found"][0]
    assert (gone["item_id"], gone["origin"]) == ("item-0003", "catalog.csv row 5")
    one = cli("rejects", "--embeddings", flaky, "--reason", "timeout")
    assert one.err.startswith("snapshot 1: 2 of 20 rows rejected, 2 of them for a reason that may pass")
    assert "item-0005" in one.out
    assert "item-0003" not in one.out


def test_retry_reads_what_may_pass_again_and_nothing_that_lasts(
    flaky: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    fetch = storage.fetch
    monkeypatch.setattr(storage, "fetch", lambda uri, limit: read.append(Path(uri).name) or fetch(uri, limit))
    done = cli("rejects", "--embeddings", flaky, "--retry", "--json")
    assert done.code == 0, done.err
    retry = done.json["retry"]
    assert (retry["embedded"], retry["reused"], retry["rejected"], retry["snapshot"]) == (2, 16, 2, 2)
    assert sorted(read) == ["3.png", "5.png", "6.png"]  # One that is gone costs a request; one that is no picture none.
    read.clear()
    again = cli("rejects", "--embeddings", flaky, "--retry", "--json").json
    assert (again["transient"], again["retry"], read) == (0, None, [])


def test_retry_finds_everything_from_another_folder(
    make_catalog: Callable[..., Catalog], tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = make_catalog(20)
    monkeypatch.chdir(catalog.csv.parent)
    catalog.csv.rename(tmp_path / "elsewhere.csv")
    fetch = storage.fetch

    def late(uri: str, limit: int) -> storage.Fetched:
        if uri.endswith("/5.png"):
            raise TimeoutError("late")
        return fetch(uri, limit)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "fetch", late)
        flags = ("--catalog", "../elsewhere.csv", "--images-root", ".", "--allow-root", "pictures", "--output", "../e")
        done = cli("embed", *flags, "--threads", 1, "--json")
    assert done.json["rejects_by_reason"] == {"timeout": 1}
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    retry = cli("rejects", "--embeddings", "../e", "--retry", "--reason", "not_found", "--json").json["retry"]
    assert (retry["embedded"], retry["reused"], retry["rejected"]) == (1, 19, 0)


def test_secrets_in_flags_are_not_written_down_and_retry_says_so(
    make_catalog: Callable[..., Catalog], tmp_path: Path, cli: Cli
) -> None:
    catalog = make_catalog(3)
    template = "https://user:PASSWORD@127.0.0.1:9/{image}?sig=SECRET"
    flags = ("--catalog", catalog.csv, "--image-template", template, "--output", tmp_path / "e", "--allow-http")
    done = cli("embed", *flags, "--json")
    assert done.json["rejected"] == 3
    for path in (tmp_path / "e").rglob("*.json"):
        assert "SECRET" not in path.read_text()
        assert "PASSWORD" not in path.read_text()
    for name in ("rejects", "embed"):
        assert "SECRET" not in cli(name, *(("--embeddings", tmp_path / "e") if name == "rejects" else flags)).out


def test_a_broken_image_is_read_again_when_it_was_replaced(flaky: Path, cli: Cli, tmp_path: Path) -> None:
    cli("rejects", "--embeddings", flaky, "--retry")
    pictures = tmp_path / "catalog" / "pictures"
    (pictures / "4.png").write_bytes((pictures / "7.png").read_bytes())
    done = cli("embed", "--catalog", tmp_path / "catalog" / "catalog.csv", "--output", flaky, "--json")
    assert (done.json["embedded"], done.json["rejects_by_reason"]) == (1, {"not_found": 1})


def test_what_cannot_be_reported_is_said(flaky: Path, cli: Cli, tmp_path: Path) -> None:
    assert "has no snapshot yet; run embed first" in cli("rejects", "--embeddings", tmp_path / "none").err
    assert "--reason late is unknown; expected one of" in cli("rejects", "--embeddings", flaky, "--reason", "late").err
    both = cli("rejects", "--embeddings", flaky, "--retry", "--snapshot", 1)
    assert "leave --snapshot out" in both.err
    assert both.code == 2
    for plan in (flaky / "runs").glob("*/plan.json"):
        plan.unlink()
    lost = cli("rejects", "--embeddings", flaky, "--retry")
    assert "plan.json is gone" in lost.err
    assert lost.code == 2
