from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.lease import Lease
from tests.conftest import Finished
from tests.pipelines.nights import write_catalog, write_config
from tests.pipelines.test_standalone import start

Cli = Callable[..., Finished]
FIELDS = {"run", "outcome", "exit_code", "embed", "index", "collected", "dedupe", "report", "page", "seconds", "error"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_catalog(tmp_path, range(30))
    return write_config(tmp_path)


def test_the_last_line_of_json_has_embed_index_and_report(cli: Cli, config: Path) -> None:
    done = cli("nightly", "--config", config, "--json")
    assert done.code == 0, done.err
    assert set(done.json) == FIELDS
    assert (done.json["outcome"], done.json["embed"]["embedded"], done.json["index"]["vectors"]) == ("done", 30, 30)
    assert Path(done.json["page"]).exists()
    assert f"report {done.json['page']}" in done.err


def test_a_refused_night_exits_with_three_and_has_its_json(cli: Cli, config: Path, tmp_path: Path) -> None:
    cli("nightly", "--config", config)
    write_catalog(tmp_path, range(20))
    write_config(tmp_path, index={"gates": {"count_drift": 0.01}})
    refused = cli("nightly", "--config", config, "--json")
    assert refused.code == 3
    assert (refused.json["outcome"], refused.json["index"]["promoted"]) == ("refused", False)
    assert refused.json["error"].startswith(f"version {refused.json['index']['version']} was refused")
    assert refused.err.strip().splitlines()[-1] == f"catalog-indexer nightly: {refused.json['error']}"


def test_a_wrong_configuration_exits_with_two_and_one_sentence(cli: Cli, config: Path, tmp_path: Path) -> None:
    write_config(tmp_path, index={"gates": {"overlap": 1.5}})
    wrong = cli("nightly", "--config", config)
    assert wrong.code == 2
    expected = f"catalog-indexer nightly: {config}: index.gates.overlap is 1.5; expected a number from 0 to 1"
    assert wrong.err.strip() == expected
    assert cli("nightly", "--config", tmp_path / "none.yaml").code == 2
    write_config(tmp_path)
    wrong = cli("nightly", "--config", config, "--", "--no_flag_of_beam")
    assert wrong.code == 2
    assert "Beam does not know these flags" in wrong.err


def test_a_night_that_does_not_begin_has_its_json(cli: Cli, config: Path, tmp_path: Path) -> None:
    other = Lease(str(tmp_path / "artifacts" / "shop" / "locks" / "nightly.json"), "other", 60)
    other.take()
    locked = cli("nightly", "--config", config, "--json")
    assert (locked.code, locked.json["exit_code"], locked.json["outcome"]) == (4, 4, "locked")
    assert locked.json["error"].startswith("another run is under way")
    assert set(locked.json) == FIELDS
    write_config(tmp_path, index={"gates": {"overlap": 1.5}})
    wrong = cli("nightly", "--config", config, "--json")
    assert (wrong.code, wrong.json["exit_code"], wrong.json["outcome"], wrong.json["run"]) == (2, 2, "wrong", None)
    assert wrong.err.strip() == f"catalog-indexer nightly: {wrong.json['error']}"
    nothing = ("run", "embed", "index", "collected", "report", "page")
    assert {locked.json[name] for name in nothing} == {wrong.json[name] for name in nothing} == {None}


def test_what_could_not_be_read_for_now_is_said_as_embed_says_it(cli: Cli, config: Path, tmp_path: Path) -> None:
    cli("nightly", "--config", config)
    (tmp_path / "pictures" / "3.png").unlink()
    (tmp_path / "pictures" / "3.png").mkdir()
    night = cli("nightly", "--config", config, "--json")
    assert night.json["embed"]["stale"] == 1
    assert "\n  1 of the reused could not be read for now and keep the vectors that they had\n" in night.err


def test_a_night_runs_as_a_program_of_its_own_with_beams_flags_among_its_own(config: Path) -> None:
    done = start("nightly", "--config", config, "--direct_num_workers=1")
    assert done.returncode == 0, done.stderr
    assert '"outcome": "done"' in done.stdout.splitlines()[-1]
    failed = start("nightly", "--config", config.with_name("none.yaml"))
    assert failed.returncode == 2
    assert (
        failed.stderr.splitlines()[-1]
        == f"python -m pipelines.nightly: --config {config.parent}/none.yaml: no such file"
    )
