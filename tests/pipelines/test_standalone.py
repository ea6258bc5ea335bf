from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import REPOSITORY, Catalog


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
