from __future__ import annotations

from pathlib import Path

import pytest

from catalog.errors import IntegrityError
from index_builder import work
from tests.conftest import files_below
from tests.index_builder.stages.small_build import small_build


def test_codes_that_were_damaged_and_deleted_are_made_again_by_the_same_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_STRETCH_ROWS", 700)  # Two stretches, of two files each.
    build = small_build(tmp_path)
    build.sample()
    build.train()
    build.encode()
    folder = Path(build.job.root) / "codes"
    before = files_below(folder)
    answers = files_below(Path(build.job.root) / "work" / "one" / "truth")
    assert (len(before), len(answers)) == (4, 2)
    path = next(folder.rglob("*.arrow"))
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    with pytest.raises(IntegrityError, match=rf"{path} is damaged: .*; delete it and run again"):
        build.merge()
    path.unlink()
    build.encode()
    assert files_below(folder) == before
    assert files_below(Path(build.job.root) / "work" / "one" / "truth") == answers
    build.merge()
    assert build.assemble() == small_build(tmp_path, "undisturbed").everything()


def test_files_that_have_codes_are_not_encoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = small_build(tmp_path)
    build.sample()
    build.train()
    build.encode()
    paths = sorted((Path(build.job.root) / "codes").rglob("*.arrow"))
    times = {path: path.stat().st_mtime_ns for path in paths}
    paths[2].unlink()
    build.encode()
    assert {path for path in paths if path.stat().st_mtime_ns != times[path]} == {paths[2]}


def test_a_flat_index_has_no_codes(tmp_path: Path) -> None:
    build = small_build(tmp_path, factory="Flat")
    build.sample()
    build.train()
    for _ in range(2):
        build.encode()
    assert not (Path(build.job.root) / "codes").exists()
    assert len(list((Path(build.job.root) / "work" / "one" / "truth").iterdir())) == 1
