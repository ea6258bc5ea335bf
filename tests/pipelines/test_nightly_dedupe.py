"""Nights that report duplicates: each report builds on an earlier one, and what is wrong with it undoes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from index_builder.publishing.verify import find_version
from pipelines.nightly import nightly
from pipelines.nightly_config import read_nightly
from tests.pipelines.nights import write_catalog, write_config


@pytest.fixture
def night(tmp_path: Path) -> Path:
    write_catalog(tmp_path, range(24))
    shutil.copy(tmp_path / "pictures" / "1.png", tmp_path / "pictures" / "2.png")
    write_config(tmp_path, dedupe={"output": "duplicates", "pictures": 0})
    return tmp_path


def run(folder: Path) -> Any:
    done = nightly(read_nightly(str(folder / "nightly.yaml")))
    report = json.loads((folder / "reports" / "latest.json").read_bytes())
    assert report["dedupe"] == done.dedupe == done.to_json()["dedupe"]
    return done


def test_reports_of_nights_build_on_one_another(night: Path) -> None:
    first = run(night)
    assert (first.outcome, first.dedupe["snapshot"], first.dedupe["since"]) == ("done", 1, None)
    assert (first.dedupe["new"], first.dedupe["items"], first.dedupe["dropped"]) == (24, 24, 1)
    assert (Path(first.dedupe["report"]) / "drop.csv").read_text().splitlines()[1].startswith('"item-0002",')
    again = run(night)
    assert again.dedupe == {**first.dedupe, "seconds": 0.0}
    write_catalog(night, range(26))
    shutil.copy(night / "pictures" / "1.png", night / "pictures" / "25.png")
    second = run(night)
    assert (second.dedupe["since"], second.dedupe["snapshot"]) == (first.dedupe["report"], 2)
    assert (second.dedupe["new"], second.dedupe["items"], second.dedupe["dropped"]) == (2, 26, 2)
    assert {path.name for path in (night / "duplicates").iterdir()} == {
        "latest.json",
        Path(first.dedupe["report"]).name,
        Path(second.dedupe["report"]).name,
    }
    assert f"{second.dedupe['report']}/index.html" in (night / "reports" / "latest.html").read_text()


def test_another_threshold_or_a_lost_report_compares_everything(night: Path) -> None:
    first = run(night)
    write_config(night, dedupe={"output": "duplicates", "pictures": 0, "threshold": 0.9})
    other = run(night)
    assert other.dedupe["report"] != first.dedupe["report"]
    assert (other.dedupe["since"], other.dedupe["new"]) == (None, 24)
    shutil.rmtree(other.dedupe["report"])
    write_catalog(night, range(25))
    lost = run(night)
    assert (lost.dedupe["since"], lost.dedupe["new"]) == (None, 25)


def test_a_night_whose_dedupe_fails_has_published_and_fails(night: Path) -> None:
    write_config(night, dedupe={"output": "duplicates", "pictures": 0, "group_column": "colour"})
    failed = run(night)
    assert (failed.outcome, failed.exit_code, failed.dedupe) == ("failed", 1, None)
    version = find_version(str(night / "artifacts" / "shop")).version
    assert str(failed.error).startswith(f"version {version} is published, and dedupe failed: --group-column colour")
    report = json.loads((night / "reports" / "latest.json").read_bytes())
    assert (report["stage"], report["error"]) == ("dedupe", str(failed.error))
    assert report["index"]["promoted"]
