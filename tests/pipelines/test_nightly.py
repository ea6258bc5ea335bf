from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog import storage
from catalog.channel import read_channel
from catalog.errors import GateRefusedError, LockedError, UsageError
from catalog.lease import Hold, Lease
from catalog.process_identity import ProcessIdentity
from index_builder.publishing.marks import read_marks, write_marks
from index_builder.publishing.verify import find_version, verify
from pipelines.night_summary import exit_code
from pipelines.nightly import nightly
from pipelines.nightly_config import read_nightly
from tests.conftest import REPOSITORY, Finished
from tests.pipelines.nights import write_catalog, write_config

ELSEWHERE = ProcessIdentity("elsewhere", "boot", "pid:[1]", 7, "100")


@pytest.fixture
def night(tmp_path: Path) -> Path:
    write_catalog(tmp_path, range(40))
    (tmp_path / "pictures" / "3.png").write_bytes(b"<no picture>")
    write_config(tmp_path, index={"labels": {"team": "<b>shop & co</b>"}})
    return tmp_path


def run(folder: Path) -> Any:
    return nightly(read_nightly(str(folder / "nightly.yaml")))


def latest(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "reports" / "latest.json").read_bytes()))


def page(folder: Path) -> str:
    return (folder / "reports" / "latest.html").read_text()


def lock(folder: Path) -> Hold:
    url = str(folder / "artifacts" / "shop" / "locks" / "nightly.json")
    return Hold.from_bytes(storage.read_bytes(url), url)


def test_a_night_publishes_and_reports_what_it_did(night: Path) -> None:
    done = run(night)
    assert (done.outcome, done.exit_code, done.error) == ("done", 0, None)
    root = str(night / "artifacts" / "shop")
    manifest = verify(root, find_version(root))
    assert manifest.labels == {"team": "<b>shop & co</b>"}
    report = latest(night)
    assert report["counts"] == {
        "input": 40,
        "embedded": 39,
        "reused": 0,
        "rejected": 1,
        "rejects_by_reason": {"unsupported_format": 1},
        "removed": 0,
        "stale": 0,
        "indexed": 39,
    }
    assert report["index"]["version"] == done.index.version == manifest.version
    assert (report["outcome"], report["exit_code"], report["stage"], report["error"]) == ("done", 0, None, None)
    assert (report["run"], report["replaced"]) == (done.run, None)
    assert report["pareto"] == manifest.pareto
    assert set(report["seconds_by_stage"]) == {"embed", "index"}
    assert report["index"]["seconds_by_stage"] == manifest.seconds_by_stage
    assert [gate["gate"] for gate in report["index"]["gates"]] == [gate["gate"] for gate in manifest.gates]
    assert sorted(path.name for path in (night / "reports").iterdir()) == sorted(
        [Path(done.report).name, Path(done.page).name, "latest.html", "latest.json"]
    )
    assert Path(done.report).read_bytes() == (night / "reports" / "latest.json").read_bytes()
    assert Path(done.page).read_text() == page(night)
    assert manifest.version in page(night)
    assert "data:image/svg+xml;base64," in page(night)
    assert lock(night).released


def test_a_night_without_changes_publishes_nothing_new_and_the_next_one_says_what_it_replaced(night: Path) -> None:
    first = run(night)
    again = run(night)
    assert again.index.version == first.index.version
    assert (again.embed.embedded, again.embed.reused) == (0, 39)
    write_catalog(night, range(2, 42))
    second = run(night)
    assert second.index.version != first.index.version
    assert latest(night)["replaced"] == first.index.version
    assert f"in place of {first.index.version}" in page(night)
    assert len(list((night / "reports").glob("2*.json"))) == 3


def test_a_refused_version_is_reported_with_the_gate_and_the_channel_stays(night: Path) -> None:
    first = run(night)
    write_catalog(night, range(30))
    write_config(night, index={"gates": {"count_drift": 0.05}})
    refused = run(night)
    assert (refused.outcome, refused.exit_code) == ("refused", 3)
    assert isinstance(refused.error, GateRefusedError)
    root = str(night / "artifacts" / "shop")
    assert find_version(root).version == first.index.version
    assert find_version(root, "candidate").version == refused.index.version
    report = latest(night)
    assert (report["outcome"], report["exit_code"], report["stage"]) == ("refused", 3, "index")
    assert "gate count_drift" in report["error"]
    gate = next(each for each in report["index"]["gates"] if each["gate"] == "count_drift")
    assert (gate["passed"], gate["threshold"]) == (False, 0.05)
    assert '<td>count_drift</td><td class="refused">refused</td>' in page(night)
    assert "0.05" in page(night)


def test_a_night_that_fails_is_reported_and_gives_the_lock_back(night: Path) -> None:
    (night / "catalog.csv").unlink()
    failed = run(night)
    assert (failed.outcome, failed.exit_code, failed.embed, failed.index) == ("failed", 2, None, None)
    report = latest(night)
    assert report["error"] == f"{night}/nightly.yaml, embed: --catalog {night}/catalog.csv: no such file"
    assert (report["stage"], report["exit_code"], report["counts"]["input"]) == ("embed", 2, None)
    assert "no such file" in page(night)
    assert lock(night).released


def test_a_flag_that_turns_out_wrong_is_named_with_its_place_in_the_file(night: Path) -> None:
    write_config(night, index={"factory": "IVF4096,Flat"})
    failed = run(night)
    assert (failed.exit_code, latest(night)["stage"]) == (2, "index")
    assert str(failed.error).startswith(f"{night}/nightly.yaml, index: --factory IVF4096,Flat")


def test_a_night_collects_what_nothing_needs_a_grace_after_it_was_marked(night: Path) -> None:
    versions = []
    for last in (40, 41, 42):
        write_catalog(night, range(last))
        versions.append(run(night).index.version)
    write_config(night, retain={"keep": 1, "young": "0s", "grace": "1h"})
    marked = run(night)
    assert vars(marked.collected) == {"deleted": 0, "waiting": 0, "marked": 1, "bytes": 0}
    root = str(night / "artifacts" / "shop")
    marks, token = read_marks(root)
    assert list(marks) == [f"versions/{versions[0]}"]  # The second one is what prod would go back to.
    aged = {path: replace(mark, since="2026-01-01T00:00:00+00:00") for path, mark in marks.items()}
    write_marks(root, aged, token)
    collected = run(night).collected
    assert (collected.deleted, collected.marked) == (1, 0)
    assert latest(night)["collected"] == vars(collected)
    assert collected.bytes > 0
    assert "1 deleted" in page(night)
    assert sorted(path.name for path in (night / "artifacts" / "shop" / "versions").iterdir()) == versions[1:]
    assert "retain" in latest(night)["seconds_by_stage"]


def test_more_rejects_than_allowed_fail_before_anything_is_indexed(night: Path) -> None:
    write_config(night, embed={"fail_on_rejects": 0})
    failed = run(night)
    assert (failed.exit_code, failed.embed.rejected, failed.index) == (1, 1, None)
    assert not (night / "artifacts" / "shop" / "versions").exists()
    assert latest(night)["counts"]["rejects_by_reason"] == {"unsupported_format": 1}
    write_config(night, embed={"fail_on_rejects": 1})
    assert run(night).exit_code == 0


def test_a_report_that_cannot_be_written_fails_a_night_and_hides_no_other_failure(night: Path) -> None:
    (night / "file").write_text("x")
    config = write_config(night, reports="file/reports")
    failed = nightly(read_nightly(str(config)))
    assert (failed.outcome, failed.exit_code) == ("failed", 1)
    assert str(failed.error).startswith("all else is done, and the report was not written: ")
    assert find_version(str(night / "artifacts" / "shop")).sequence == 1
    assert lock(night).released
    (night / "catalog.csv").unlink()
    said = list[str]()
    failed = nightly(read_nightly(str(config)), said.append)
    assert "no such file" in str(failed.error)
    assert said[-1].startswith("the report was not written: ")


def test_a_report_holds_no_secrets_and_escapes_what_it_quotes(night: Path) -> None:
    secret = "https://user:SECRET@127.0.0.1:9/<i>.csv?sig=SECRET"
    write_config(night, embed={"catalog": [secret]}, beam=["--direct_num_workers=1"])
    assert run(night).exit_code != 0
    told = Path(night / "reports" / "latest.json").read_text() + page(night)
    assert "SECRET" not in told
    assert "127.0.0.1:9/" in told
    assert "<i>" not in page(night)


def test_a_night_while_another_is_under_way_does_nothing_and_says_whose(night: Path) -> None:
    url = str(night / "artifacts" / "shop" / "locks" / "nightly.json")
    other = Lease(url, "other", 60, process=ELSEWHERE)
    other.take()
    with pytest.raises(LockedError, match=r"run other, process 7 on elsewhere, since .*; its lease ends at "):
        run(night)
    assert not (night / "reports").exists()
    assert not (night / "embeddings").exists()
    other.release()
    assert run(night).exit_code == 0


@pytest.mark.parametrize("moment", ["embedding ", "building version "])
def test_a_night_that_lost_its_lock_stops_before_the_next_stage_and_before_a_channel_moves(
    night: Path, moment: str
) -> None:
    url = str(night / "artifacts" / "shop" / "locks" / "nightly.json")

    def say(line: str) -> None:
        if line.startswith(moment):
            storage.write(url, Hold("thief", ELSEWHERE, 0, 4e9).to_bytes())

    lost = nightly(read_nightly(str(night / "nightly.yaml")), say)
    assert (lost.exit_code, lost.index) == (4, None)
    assert isinstance(lost.error, LockedError)
    assert read_channel(str(night / "artifacts" / "shop"), "prod").pointer is None
    assert latest(night)["exit_code"] == 4
    assert lock(night).run == "thief"


def test_every_field_of_a_report_is_documented_and_no_other(night: Path) -> None:
    (night / "catalog.csv").unlink()
    run(night)
    section = (REPOSITORY / "docs" / "formats.md").read_text().split("### The report of a night")[1].split("###")[0]
    named = [
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    ]
    assert sorted([*named, "schema_version"]) == sorted(latest(night))


def test_exit_codes_tell_a_scheduler_what_to_do() -> None:
    wrapped = RuntimeError("a worker failed")
    wrapped.__cause__ = UsageError("a flag is wrong")
    errors = (None, RuntimeError(), wrapped, UsageError(), GateRefusedError(), LockedError())
    assert [exit_code(error) for error in errors] == [0, 1, 2, 2, 3, 4]


def test_a_night_runs_with_everything_in_a_bucket(night: Path, cli: Any) -> None:
    from tests.catalog.object_stores import gcs_server

    with gcs_server(night) as bucket:
        for path in (night / "catalog.csv", *sorted((night / "pictures").iterdir())):
            storage.put_file(path, f"{bucket}/shop/{path.relative_to(night)}")
        storage.put_file(write_config(night, "../shop/catalog.csv"), f"{bucket}/config/nightly.yaml")
        done: Finished = cli("nightly", "--config", f"{bucket}/config/nightly.yaml", "--json")
        assert done.code == 0, done.err
        assert done.json["page"].startswith(f"{bucket}/config/reports/2")
        assert json.loads(storage.read_bytes(f"{bucket}/config/reports/latest.json"))["run"] == done.json["run"]
        root = f"{bucket}/config/artifacts/shop"
        assert verify(root, find_version(root)).vectors == 39
