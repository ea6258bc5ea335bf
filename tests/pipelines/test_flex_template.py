from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.channel import read_channel
from catalog.errors import GateRefusedError, UsageError
from catalog.snapshot import latest_snapshot
from pipelines.flags import add_embed_flags, add_index_flags, index_config
from pipelines.flex_template import Promote, as_flags, main
from pipelines.index import plan_build
from tests.conftest import Catalog, draw_picture, files_below, snapshots_of
from tests.pipelines.nights import write_catalog, write_config

MakeCatalog = Callable[..., Catalog]


def embed(catalog: Catalog, store: Path, *more: str) -> int:
    return main(["--job=embed", f"--catalog={catalog.csv}", f"--output={store}", "--partitions=2", *more])


def index(folder: Path, *more: str) -> int:
    places = (f"--embeddings={folder / 'e'}", f"--artifacts={folder / 'a'}", "--name=shop")
    return main(["--job=index", *places, "--queries=20", *more])


def config_of(folder: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_index_flags(parser)
    return parser.parse_args(
        ["--embeddings", str(folder / "e"), "--artifacts", str(folder / "a"), "--name", "shop", *more]
    )


def test_what_a_template_embeds_is_what_the_command_embeds(make_catalog: MakeCatalog, tmp_path: Path) -> None:
    from tests.conftest import start_cli

    catalog = make_catalog(30)
    assert embed(catalog, tmp_path / "e") == 0
    command = start_cli("embed", "--catalog", catalog.csv, "--output", tmp_path / "same", "--partitions", 2)
    assert command.wait(120) == 0
    assert snapshots_of(tmp_path / "e") == snapshots_of(tmp_path / "same")
    assert files_below(tmp_path / "e" / "files") == files_below(tmp_path / "same" / "files")


def test_a_template_run_in_which_nothing_changed_leaves_no_trace_and_the_next_one_sees_changes(
    make_catalog: MakeCatalog, tmp_path: Path
) -> None:
    """Commits of a run that changed nothing would stand for what is changed later: its plan is the same."""
    catalog, store = make_catalog(30), tmp_path / "e"
    assert embed(catalog, store) == 0
    runs = sorted(path.name for path in (store / "runs").iterdir())
    assert embed(catalog, store) == 0
    assert sorted(path.name for path in (store / "runs").iterdir()) == runs
    draw_picture(999).save(catalog.csv.parent / "pictures" / "3.png")
    assert embed(catalog, store) == 0
    newest = latest_snapshot(str(store))
    assert newest is not None
    assert (newest.sequence, newest.counts.embedded) == (2, 1)


def test_an_index_of_a_template_is_on_its_channel_when_the_job_ends(make_catalog: MakeCatalog, tmp_path: Path) -> None:
    assert embed(make_catalog(40), tmp_path / "e") == 0
    assert index(tmp_path, "--channel=canary", "--label=team=shop", "--retrain=true") == 0
    root = str(tmp_path / "a" / "shop")
    there = read_channel(root, "canary").pointer
    assert there is not None
    versions = tmp_path / "a" / "shop" / "versions"
    manifest = json.loads((versions / there.version / "manifest.json").read_bytes())
    assert manifest["labels"] == {"team": "shop"}
    # The version is built already: the job has one step left, to the other channel.
    assert index(tmp_path, "--channel=prod", "--retrain=true") == 0
    assert read_channel(root, "prod").pointer == there
    assert [path.name for path in versions.iterdir()] == [there.version]


def test_a_refused_version_fails_the_step_as_often_as_the_runner_tries_it(
    make_catalog: MakeCatalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = make_catalog(40)
    assert embed(catalog, tmp_path / "e") == 0
    assert index(tmp_path) == 0
    root = str(tmp_path / "a" / "shop")
    before = read_channel(root, "prod").pointer
    catalog.rewrite(catalog.lines[:30])
    assert embed(catalog, tmp_path / "e") == 0
    assert index(tmp_path, "--count-drift=0.01") == 3  # As far as the local runner tells its launcher.
    assert "gate count_drift: " in capsys.readouterr().err
    offered = read_channel(root, "candidate").pointer
    assert read_channel(root, "prod").pointer == before != offered
    planned = plan_build(index_config(config_of(tmp_path, "--count-drift", "0.01", "--queries", "20"), ()))
    assert planned.built is None
    for _ in range(2):
        with pytest.raises(GateRefusedError):
            Promote(planned.job, "a", "shop").process(None)
    assert read_channel(root, "candidate").pointer == offered
    assert read_channel(root, "prod").pointer == before


def test_a_night_of_a_template_is_a_night(tmp_path: Path) -> None:
    write_catalog(tmp_path, range(20))
    config = write_config(tmp_path)
    assert main(["--job=nightly", f"--config={config}"]) == 0
    report = json.loads((tmp_path / "reports" / "latest.json").read_bytes())
    assert (report["outcome"], report["counts"]["indexed"]) == ("done", 20)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--job=nightly", "--config={}/none.yaml"], "nightly: --config {}/none.yaml: no such file"),
        (["--job=embed", "--catalog={}/none.csv", "--output={}/e"], "embed: --catalog {}/none.csv: no such file"),
        (["--job=index", "--embeddings={}/e", "--artifacts={}/a", "--name=n"], "index: {}/e has no snapshot"),
        (
            ["--job=embed", "--catalog=c.csv", "--output={}/e", "--no_flag=1"],
            "Beam does not know these flags: --no_flag",
        ),
        (
            ["--job=embed", "--catalog=c", "--output=e", "--allow_http=yes"],
            "--allow_http=yes is neither true nor false",
        ),
    ],
)
def test_what_is_wrong_is_said_by_the_launcher_before_a_job_begins(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([flag.format(tmp_path) for flag in flags]) == 2
    assert said.format(tmp_path) in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "e").exists()


def test_a_job_that_there_is_not_is_refused() -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--job=serve"])
    assert refused.value.code == 2


def test_parameters_are_flags_in_the_spelling_of_templates() -> None:
    parser = argparse.ArgumentParser()
    add_embed_flags(parser)
    given = ["--images_root=gs://b/a_b", "--allow_http=true", "--max-bytes=7", "--temp_location=gs://b/t", "--no_auth"]
    assert as_flags(parser, given) == [
        *("--images-root=gs://b/a_b", "--allow-http", "--max-bytes=7"),
        *("--temp_location=gs://b/t", "--no_auth"),
    ]
    assert as_flags(parser, ["--allow_http=false", "--allow-http"]) == ["--allow-http"]
    with pytest.raises(UsageError, match="--allow_http=1 is neither true nor false"):
        as_flags(parser, ["--allow_http=1"])
