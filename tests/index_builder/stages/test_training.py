from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.errors import IntegrityError
from index_builder.stages.training import read_training
from tests.conftest import files_below
from tests.index_builder.stages.small_build import small_build


@pytest.mark.parametrize("name", ["codebook.faiss", "codebook.json"])
def test_a_codebook_that_was_damaged_and_deleted_is_trained_again_by_the_same_build(tmp_path: Path, name: str) -> None:
    build = small_build(tmp_path)
    wanted = build.everything()
    codebook = read_training(build.job).codebook
    folder = Path(build.job.root) / "codebooks" / str(codebook)
    before = files_below(folder)
    (folder / name).write_bytes(before[name][:-2])
    with pytest.raises(IntegrityError, match=f"{folder / name} is damaged: .*; delete the folder that it is in"):
        build.everything()
    shutil.rmtree(folder)
    shutil.rmtree(Path(build.job.root) / "versions")
    assert build.everything() == wanted
    assert files_below(folder) == before


def test_nothing_is_left_of_a_codebook_that_another_takes_the_place_of(tmp_path: Path) -> None:
    build = small_build(tmp_path)
    build.everything()
    first = read_training(build.job).codebook
    shutil.rmtree(Path(build.job.root) / "codebooks")
    # As after a codebook that was kept from a night before: what is trained now is another one.
    other = replace(build, job=replace(build.job, plan=replace(build.job.plan, seed=2)))
    found = other.everything()
    assert read_training(other.job).codebook != first
    fresh = small_build(tmp_path, "fresh")
    fresh.sample()
    assert found == replace(fresh, job=replace(fresh.job, plan=other.job.plan)).everything()


def test_a_codebook_that_is_there_is_not_trained_again(tmp_path: Path) -> None:
    build = small_build(tmp_path)
    build.everything()
    root = Path(build.job.root)
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*.*")}
    build.everything()
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.*")} == times
