from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.errors import UsageError
from catalog.lease import Lease
from pipelines import nightly as nightly_module
from pipelines.standalone import main
from tests.conftest import REPOSITORY, Catalog
from tests.pipelines.nights import write_catalog, write_config


def start(job: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"pipelines.{job}", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)


def test_the_jobs_run_as_programs_of_their_own_with_beams_flags_among_theirs(
    make_catalog: Callable[..., Catalog], tmp_path: Path
) -> None:
    workers = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    done = start("embed", "--catalog", make_catalog(20).csv, "--output", tmp_path / "e", *workers)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["embedded"] == 20
    done = start("index", "--embeddings", tmp_path / "e", "--artifacts", tmp_path / "a", "--name", "shop", *workers)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["vectors"] == 20


def test_what_is_wrong_is_one_sentence(tmp_path: Path) -> None:
    done = start("embed", "--catalog", tmp_path / "none.csv", "--output", tmp_path / "e")
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last == f"python -m pipelines.embed: --catalog {tmp_path}/none.csv: no such file"
    done = start("embed", "--catalog", "c.csv", "--output", tmp_path / "e", "--encodr=x")
    assert done.returncode == 2
    assert "Beam does not know these flags" in done.stderr


def last_line(text: str) -> dict[str, object]:
    return dict(json.loads(text.splitlines()[-1]))


@pytest.mark.parametrize(
    ("error", "cause", "code", "said"),
    [
        (
            RuntimeError("a worker: https://u:SECRET@h/x?sig=SECRET"),
            UsageError("--catalog is wrong"),
            2,
            "--catalog is",
        ),
        (RuntimeError("a worker: https://u:SECRET@h/x?sig=SECRET"), None, 1, "RuntimeError: a worker: https://h/x"),
    ],
)
def test_a_night_that_fails_has_its_exit_code_its_json_and_no_secrets(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    cause: Exception | None,
    code: int,
    said: str,
) -> None:
    def work(self: object, lease: Lease) -> None:
        raise error from cause

    monkeypatch.setattr(nightly_module._Night, "work", work)
    write_catalog(tmp_path, range(3))
    assert main("nightly", ["--config", str(write_config(tmp_path))]) == code
    out, err = capsys.readouterr()
    summary = last_line(out)
    assert (summary["outcome"], summary["exit_code"]) == ("failed", code)
    assert said in str(summary["error"])
    assert said in err.splitlines()[-1]
    assert ("Traceback" in err) is (cause is None)
    assert "SECRET" not in out + err


def test_a_night_that_is_refused_or_does_not_begin_has_its_exit_code_and_its_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_catalog(tmp_path, range(30))
    config = write_config(tmp_path)
    assert main("nightly", ["--config", str(config)]) == 0
    write_catalog(tmp_path, range(20))
    write_config(tmp_path, index={"gates": {"count_drift": 0.01}})
    assert main("nightly", ["--config", str(config)]) == 3
    assert last_line(capsys.readouterr().out)["outcome"] == "refused"
    other = Lease(str(tmp_path / "artifacts" / "shop" / "locks" / "nightly.json"), "other", 60)
    other.take()
    assert main("nightly", ["--config", str(config)]) == 4
    locked = last_line(capsys.readouterr().out)
    assert (locked["run"], locked["outcome"], locked["report"]) == (None, "locked", None)
