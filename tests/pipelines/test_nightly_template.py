from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from catalog import storage
from catalog.errors import GateRefusedError, LockedError, UsageError
from catalog.lease import Hold
from catalog.process_identity import ProcessIdentity
from pipelines.nightly_template import RunNight, launch
from tests.pipelines.nights import write_catalog, write_config

ELSEWHERE = ProcessIdentity("elsewhere", "boot", "pid:[1]", 7, "100")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_catalog(tmp_path, range(20))
    return write_config(tmp_path, lock={"lease": "10s"})


def hold_for(config: Path, seconds: float) -> None:
    url = str(config.parent / "artifacts" / "shop" / "locks" / "nightly.json")
    now = time.time()
    storage.write(url, Hold("before", ELSEWHERE, now, now + seconds).to_bytes())


def test_a_step_that_begins_anew_waits_for_the_lease_of_the_worker_that_was_lost(config: Path) -> None:
    hold_for(config, 2)
    RunNight().process(str(config))
    assert json.loads((config.parent / "reports" / "latest.json").read_bytes())["outcome"] == "done"


def test_a_step_gives_up_while_another_night_is_under_way(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pipelines.nightly_template._PATIENCE", -9.0
    )  # A second after the lease, and not half a minute.
    hold_for(config, 600)
    with pytest.raises(LockedError):
        RunNight().process(str(config))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"embeddings": "/disk/e"}, "--output /disk/e"),
        ({"artifacts": "/disk/a"}, "--artifacts /disk/a"),
        ({"reports": "/disk/r"}, "reports /disk/r"),
        ({"embed": {"catalog": "/disk/c.csv"}}, "--catalog /disk/c.csv"),
        ({"embed": {"images_root": "/disk/i"}}, "--images-root /disk/i"),
        ({}, "--config {}"),
    ],
)
def test_what_dataflows_worker_does_not_see_is_refused_before_a_job_begins(
    changes: dict[str, Any], named: str, tmp_path: Path
) -> None:
    stores = {name: f"gs://shop/{name}" for name in ("embeddings", "artifacts", "reports")}
    config = write_config(tmp_path, "gs://shop/c.csv", **{**stores, **changes})
    with pytest.raises(UsageError) as refused:
        launch(str(config), ["--runner=DataflowRunner", f"--template_location={tmp_path / 'job.json'}"])
    assert str(refused.value).startswith(f"{named.format(config)} is on this machine's disk, which Dataflow's workers")
    assert not (tmp_path / "job.json").exists()


def test_a_refused_night_fails_its_step(config: Path) -> None:
    RunNight().process(str(config))
    write_catalog(config.parent, range(12))
    write_config(config.parent, index={"gates": {"count_drift": 0.01}})
    with pytest.raises(GateRefusedError):
        RunNight().process(str(config))
