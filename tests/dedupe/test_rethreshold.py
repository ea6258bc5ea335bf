from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.errors import CatalogIndexerError, IntegrityError, UsageError
from dedupe.settings import Settings
from pipelines.dedupe import DedupeConfig, RethresholdConfig, plan, plan_again
from pipelines.dedupe_steps import plan_stages
from tests.conftest import Finished
from tests.dedupe.small_store import make_store, run_stages

Cli = Callable[..., Finished]

MADE_WITH = {"threshold": 0.6, "thumbnail_threshold": 0.8, "phash_radius": 8, "group_column": "split"}
LAYOUTS = {"one bucket": (1 << 20, 1 << 20), "several": (25, 40)}
# The gallery names the folder and the run; its pages are of the files below.
FILES = ("keep.csv", "drop.csv", "splits.csv", "unreadable.csv")
TABLES = ("pairs.parquet", "groups.parquet", "conflicts.parquet", "placeholders.parquet", "measure.npz", "lists.npz")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, and a report of it for each layout."""
    folder = tmp_path_factory.mktemp("made")
    make_store(folder)
    for name in LAYOUTS:
        run_stages(plan(config(folder, folder / name, name, Settings(**MADE_WITH))))
    return folder


def config(made: Path, output: Path, layout: str, wanted: Settings) -> DedupeConfig:
    stretch_rows, bucket_rows = LAYOUTS[layout]
    stores = {"": str(made / "embeddings")}
    return DedupeConfig(stores, str(output), wanted, stretch_rows=stretch_rows, bucket_rows=bucket_rows)


def contents(report: Path) -> dict[str, Any]:
    """All that a report says."""
    found: dict[str, Any] = {
        name: (report / name).read_bytes() for name in (*FILES, *TABLES) if (report / name).exists()
    }
    summary = json.loads((report / "summary.json").read_text())
    summary.pop("identity")
    return {**found, "summary": summary}


ids = st.integers(0, 104).map(lambda number: f"i{number * 37 % 1_000:03d}")
changes = st.fixed_dictionaries(
    {},
    optional={
        "threshold": st.floats(0.6, 1).map(lambda value: round(value, 3)),
        "thumbnail_threshold": st.floats(0.8, 1).map(lambda value: round(value, 3)),
        "phash_radius": st.integers(0, 8),
        "keeper": st.sampled_from(["bytes", "medoid", "vendor=globex|acme,resolution", "split:desc,medoid,bytes"]),
        "protected": st.sets(ids, max_size=20).map(lambda chosen: tuple(sorted(chosen))),
        "protected_values": st.sampled_from([(), (("vendor", ("umbrella",)),)]),
        "ignored": st.sets(st.tuples(ids, ids).filter(lambda pair: pair[0] < pair[1]), max_size=60).map(
            lambda chosen: tuple(sorted(chosen))
        ),
        "placeholder_products": st.sampled_from([1, 5, 9, 100]),
        "placeholder_groups": st.sampled_from([1, 2]),
        "splits": st.just("train=0.7,test=0.3"),
    },
)


@given(changed=changes, layout=st.sampled_from(sorted(LAYOUTS)))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_judging_pairs_anew_says_what_a_fresh_run_does(made: Path, changed: dict[str, Any], layout: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        fresh, again = Path(scratch) / "fresh", Path(scratch) / "again"
        run_stages(plan(config(made, fresh, layout, Settings(**{**MADE_WITH, **changed}))))
        run_stages(plan_again(RethresholdConfig(str(made / layout), str(again), changed)))
        assert contents(again) == contents(fresh)


def test_other_settings_do_make_another_report(made: Path, tmp_path: Path) -> None:
    report = made / "one bucket"
    drops = {(report / "drop.csv").read_text()}
    changed: list[dict[str, Any]] = [
        {"phash_radius": 0, "threshold": 1.0, "thumbnail_threshold": 1.0},
        {"keeper": "vendor=globex|acme"},
        {"placeholder_products": 5},
    ]
    for number, change in enumerate(changed):
        run_stages(plan_again(RethresholdConfig(str(report), str(tmp_path / str(number)), change)))
        drops.add((tmp_path / str(number) / "drop.csv").read_text())
    assert len(drops) == 4


def test_no_vector_is_read_and_no_pair_looked_for(made: Path, tmp_path: Path) -> None:
    layout = plan_again(RethresholdConfig(str(made / "several"), str(tmp_path / "again"), {"threshold": 0.9}))
    stages = {name: units for name, _, units in plan_stages(layout)}
    assert not {"Train", "Spread", "Verify"} & set(stages)
    assert {kind for kind, _ in stages["Join"]} == {"classes"}


def test_a_report_of_judged_pairs_is_judged_again_within_the_bounds_of_the_search(made: Path, tmp_path: Path) -> None:
    strict, back = tmp_path / "strict", tmp_path / "back"
    bounds = {name: MADE_WITH[name] for name in ("threshold", "thumbnail_threshold", "phash_radius")}
    stricter = {"threshold": 0.95, "thumbnail_threshold": 0.99, "phash_radius": 1}
    run_stages(plan_again(RethresholdConfig(str(made / "several"), str(strict), stricter)))
    run_stages(plan_again(RethresholdConfig(str(strict), str(back), bounds)))
    assert contents(back) == contents(made / "several")
    assert contents(strict)["drop.csv"] != contents(back)["drop.csv"]


def test_a_report_that_was_moved_is_judged_where_it_is_now(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "several", tmp_path / "moved")
    layout = plan_again(RethresholdConfig(str(tmp_path / "moved"), str(tmp_path / "again")))
    assert layout.job.found is not None
    assert layout.job.found.startswith(f"{tmp_path}/moved/found/")


def test_what_a_killed_run_found_by_other_settings_goes(made: Path, tmp_path: Path) -> None:
    output = tmp_path / "report"
    other = plan(config(made, output, "several", Settings(**MADE_WITH)))
    for _, stage, units in plan_stages(other)[:4]:
        stage.setup()
        for unit in units:
            list(stage.process(unit))
    shutil.rmtree(output / "work")
    run_stages(plan(config(made, output, "several", Settings(**{**MADE_WITH, "phash_radius": 5}))))
    assert not (output / "found" / other.job.identity).exists()
    plan_again(RethresholdConfig(str(output), str(tmp_path / "again")))


@pytest.mark.parametrize(
    ("changed", "flag"),
    [({"threshold": 0.5}, "--threshold 0.5"), ({"thumbnail_threshold": 0.7}, "--thumbnail-threshold 0.7")],
)
def test_looser_bounds_are_refused(made: Path, tmp_path: Path, changed: dict[str, Any], flag: str) -> None:
    with pytest.raises(UsageError, match=f"{flag} is below"):
        plan_again(RethresholdConfig(str(made / "several"), str(tmp_path / "again"), changed))


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "several", tmp_path / "copy"))


def refused(report: Path, output: Path, kind: type[CatalogIndexerError]) -> str:
    with pytest.raises(kind) as caught:
        run_stages(plan_again(RethresholdConfig(str(report), str(output))))
    assert not (output / "summary.json").exists() or output == report
    return str(caught.value)


def test_a_report_that_is_not_whole_is_refused_by_name(copy: Path, tmp_path: Path) -> None:
    output = tmp_path / "again"
    assert "is the report itself" in refused(copy, copy, UsageError)
    lists = next((copy / "found").rglob("lists-000000.arrow"))
    data = lists.read_bytes()
    lists.write_bytes(data[: len(data) // 2])
    assert f"{lists} is damaged" in refused(copy, output, IntegrityError)
    lists.unlink()
    assert f"{lists} is not there" in refused(copy, output, UsageError)
    (copy / "found" / "job.json").write_text("{}")
    assert "job.json is damaged" in refused(copy, output, IntegrityError)
    (copy / "found" / "job.json").unlink()
    assert "has not kept the pairs" in refused(copy, output, UsageError)
    (copy / "summary.json").unlink()
    assert "has no summary.json" in refused(copy, output, UsageError)


def test_a_snapshot_that_is_gone_or_another_is_refused(copy: Path, tmp_path: Path) -> None:
    said = copy / "found" / "job.json"
    job = json.loads(said.read_text())
    for name, value, expected in (("sources", [{**job["sources"][0], "sequence": 7}], "has no snapshot 7"),):
        said.write_text(json.dumps({**job, name: value}))
        assert expected in refused(copy, tmp_path / "again", UsageError)
    said.write_text(json.dumps({**job, "snapshots": ["0" * 64]}))
    assert "is not the one that the report is of" in refused(copy, tmp_path / "again", UsageError)


def test_the_command_says_what_it_judged(made: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "keep.txt").write_text("i000\n")
    flags = ["--report", made / "several", "--output", tmp_path / "again", "--threshold", "0.9", "--pictures", "0"]
    done = cli("dedupe", "rethreshold", *flags, "--protect", tmp_path / "keep.txt", "--json")
    assert done.code == 0, done.err
    assert (done.json["threshold"], done.json["settings"]["protected"]) == (0.9, ["i000"])
    assert done.json["items"] == done.json["kept"] + done.json["dropped"]
    assert "judging the pairs of 105 items" in done.err
    kept = (made / "several" / "keep.csv").read_bytes(), (tmp_path / "again" / "keep.csv").read_bytes()
    assert kept[0] != kept[1]
    loose = cli("dedupe", "rethreshold", *flags[:2], "--output", tmp_path / "loose", "--phash-radius", "9")
    assert loose.code == 2
    assert "--phash-radius" in loose.err
    assert list(itertools.islice((tmp_path / "loose").rglob("*"), 1)) == []
