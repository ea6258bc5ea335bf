"""The dedupe job on real photos whose duplicates are known: what it must find, and what it must leave alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.judged_pairs import Judged, edited_quality, exact_quality, found_by_edit, group_quality, judge
from benchmarks.labelled_photos import Labelled, make_labelled, photos_below
from catalog import storage
from catalog.embedding_file import read_file, vectors_of
from catalog.snapshot import latest_snapshot
from dedupe.edits import EDITS
from dedupe.items import thumbnails_of
from dedupe.list_join import JoinOptions, join_list
from dedupe.lists import PROBES, VIEW_PROBES, Lists
from dedupe.measure import Measure
from dedupe.settings import Settings
from tests.conftest import REPOSITORY
from tests.dedupe.drawn import entries_of

EDITED, PHOTOS = 50, 750


def run_cli(*arguments: object) -> str:
    command = [sys.executable, "-m", "commands.main", *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, text=True, capture_output=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def deduped(folder: Path, *flags: object) -> dict:
    """The summary of a report on the embeddings in `folder`."""
    name = "-".join(["report", *map(str, flags)])
    run_cli("dedupe", "--embeddings", folder / "embeddings", "--output", folder / name, "--pictures", 0, *flags)
    return json.loads((folder / name / "summary.json").read_text())


def mobilenet(shared: Path) -> str:
    return f"savedmodel:{shared}/models/mobilenet_v2_100_224"


@dataclass(frozen=True)
class Groups:
    """The groups of a report, by name of a file without its folder and ending."""

    of: dict[str, str]

    @classmethod
    def read(cls, report: Path) -> Groups:
        table = pq.read_table(report / "groups.parquet", columns=["item_id", "group_id"]).to_pylist()
        return cls({Path(row["item_id"]).stem: row["group_id"] for row in table})

    def together(self, *names: str) -> bool:
        found = {self.of.get(name) for name in names}
        return len(found) == 1 and None not in found


@pytest.fixture(scope="module")
def neardup(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("neardup")
    run_cli("scan", shared / "data" / "neardup", "--output", folder / "catalog.csv")
    embeddings = folder / "embeddings"
    run_cli("embed", "--catalog", folder / "catalog.csv", "--encoder", mobilenet(shared), "--output", embeddings)
    return folder


BRIDGE = (
    "aaa-orig", "bridge-1-original", "blur-a-little", "blur-a-lot", "high-contrast", "high-saturation",
    "sharpen-a-little", "sharpen-a-lot", "shrink-a-little", "shrink-a-lot", "square-128x128", "square-256x256",
    "square-512x512",
)  # fmt: skip
TURNED = tuple(f"bridge-{name}" for name in ("2-rotate-90", "3-rotate-180", "4-rotate-270", "5-flipx", "6-flipy"))
DIAGONAL = ("bridge-7-flip-plus-1", "bridge-8-flip-minus-1")


def test_versions_of_a_photo_are_one_group_and_unrelated_photos_are_in_none(neardup: Path) -> None:
    summary = deduped(neardup)
    groups = Groups.read(neardup / "report")
    assert groups.together(*BRIDGE)
    assert groups.together("ukbench00120", "ukbench00120_resize")
    assert set(groups.of) == {*BRIDGE, "ukbench00120", "ukbench00120_resize", "ukbench09268"}
    assert (summary["items"], summary["groups"], summary["unreadable"]) == (42, 3, 1)
    assert summary["by_tier"]["bytes"] == 2


def test_turned_versions_are_found_where_that_is_asked_for(neardup: Path) -> None:
    deduped(neardup, "--turned")
    groups = Groups.read(neardup / "report---turned")
    assert groups.together(*BRIDGE, *TURNED)
    assert groups.together(*DIAGONAL)  # No view is mirrored along a diagonal: these are found for each other.
    assert groups.together("ukbench00120", "ukbench00120_resize", "ukbench00120_hflip")
    known = {*BRIDGE, *TURNED, *DIAGONAL, "ukbench00120", "ukbench00120_resize", "ukbench00120_hflip", "ukbench09268"}
    assert set(groups.of) == known


@dataclass(frozen=True)
class Edited:
    """Grocery photos, edits and copies of some of them, and the report on them."""

    folder: Path
    labelled: Labelled
    judged: Judged


@pytest.fixture(scope="module")
def edited(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Edited:
    folder = tmp_path_factory.mktemp("edited")
    photos = photos_below([shared / "data" / "grocery" / "images"])[:PHOTOS]
    labelled = make_labelled(folder, photos, EDITED, tuple(EDITS))
    embeddings = folder / "embeddings"
    run_cli("embed", "--catalog", labelled.catalog, "--encoder", mobilenet(shared), "--output", embeddings)
    summary = deduped(folder)
    assert summary["items"] == PHOTOS + EDITED * (len(EDITS) + 3)
    return Edited(folder, labelled, judge(folder / "report", labelled, Settings()))


def test_exact_copies_are_found_all_and_nothing_else_is_one(edited: Edited) -> None:
    found = exact_quality(edited.judged)
    assert (found["precision"], found["recall"]) == (1.0, 1.0)
    assert found["pairs"] == EDITED * 6


def test_edits_are_found_with_few_wrong_pairs(edited: Edited) -> None:
    found = edited_quality(edited.judged)
    assert found["precision"] >= 0.99
    assert found["recall_with_the_photo"] >= 0.65
    grouped = group_quality(edited.folder / "report", edited.labelled)
    assert grouped["edits_in_a_group_of_their_photo"] >= 0.7
    assert grouped["dropped_for_their_photo"] >= 0.99


def test_with_the_threshold_of_so_small_a_catalog_more_are_found_and_no_more_wrong_ones(edited: Edited) -> None:
    """A picture that has fewer others around it is told from them at a lower score, see `dedupe calibrate`."""
    assert len(EDITS) >= 12
    deduped(edited.folder, "--threshold", 0.65)
    report = edited.folder / "report---threshold-0.65"
    found = edited_quality(judge(report, edited.labelled, Settings(threshold=0.65)))
    assert found["precision"] >= 0.99
    assert found["recall_with_the_photo"] >= 0.85
    assert found["recall"] >= 0.6
    assert group_quality(report, edited.labelled)["edits_in_a_group_of_their_photo"] >= 0.88


def test_every_tier_adds_what_those_before_it_miss(edited: Edited) -> None:
    recalls = [tier["recall_with_the_photo"] for tier in edited_quality(edited.judged)["with"].values()]
    assert recalls[:2] == [0, 0]  # No edit has the bytes or the pixels of its photo.
    assert recalls[2] > 0.5
    assert recalls[3] > recalls[2]
    assert recalls[4] > recalls[3] + 0.04
    by_edit = found_by_edit(edited.judged, EDITS)
    assert all(by_edit[name]["phash"] > 0.9 for name in ("jpeg10", "resize25", "blur", "square", "sharpen"))
    assert all(by_edit[name]["embedding"] > 0.8 for name in ("grey", "bright", "saturate"))


def test_lists_find_almost_all_pairs_that_comparing_everything_finds(edited: Edited) -> None:
    snapshot = latest_snapshot(str(edited.folder / "embeddings"))
    assert snapshot is not None
    table = pa.concat_tables(
        read_file(storage.join(str(edited.folder / "embeddings"), entry.path), ["thumbnail", "embedding"])
        for entry in snapshot.files
    )
    vectors = vectors_of(table["embedding"], snapshot.encoder.dimension).astype(np.float32)
    measure = Measure.load(str(edited.folder / "report" / "measure.npz"))
    described = measure.describe(thumbnails_of(table), vectors)
    settings, options = Settings(), JoinOptions(measure.scoring)
    bounds = (settings.thumbnail_threshold, settings.threshold)
    everything = pairs_of(join_list(entries_of(described), *bounds, options))
    lists = Lists.train(described[:, 0], 40, measure.scoring)
    entries = entries_of(described)
    homes = lists.assign(entries.descriptor, PROBES)
    homes[entries.view > 0, VIEW_PROBES:] = -1
    found = set()
    for number in range(40):
        found |= pairs_of(join_list(entries.take(np.flatnonzero((homes == number).any(axis=1))), *bounds, options))
    assert len(everything) > 5_000
    assert found <= everything
    assert len(found) >= 0.99 * len(everything)


def pairs_of(table: pa.Table) -> set[tuple[int, int]]:
    return set(zip(table["row_a"].to_pylist(), table["row_b"].to_pylist(), strict=True))
