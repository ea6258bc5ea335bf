from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from catalog.errors import IntegrityError, UsageError
from dedupe.calibration import (
    FILE,
    TARGETS,
    Calibration,
    closest_csv,
    read_calibration,
    read_measure,
    reviewed_same,
    write_calibration,
)
from dedupe.measure import FILE as MEASURE_FILE
from dedupe.measure import Measure
from dedupe.operating_points import Catalog, Found
from dedupe.unrelated import THRESHOLDS, Closest, Unrelated
from tests.dedupe.drawn import pictures


def a_calibration(measure: bytes = b"") -> Calibration:
    """Of 40 pictures: one edit that both scores find, one that only the combination finds."""
    draw = np.random.default_rng(0)
    high, low = (draw.uniform(*ends, 40).astype(np.float32) for ends in ((0.8, 1.0), (0.3, 0.5)))
    reached = np.round(1_000 * np.exp(-(THRESHOLDS - 0.4) / 0.04)).astype(np.int64)
    plain = Calibration(
        snapshot=3,
        fingerprint="f" * 64,
        measure=hashlib.sha256(measure).hexdigest(),
        catalog=Catalog(vectors=2_000, copies=1.0),
        precision=0.95,
        pictures=40,
        unread=2,
        found={"easy": Found(high, high), "hard": Found(low, high)},
        unrelated=Unrelated(500, 124_000, reached, reached, {"product": 750}, (Closest("a", "ü,b", 0.91, 0.8),)),
        chosen=None,
    )
    return dataclasses.replace(plain, chosen=plain.points().best(plain.precision))


def test_what_is_written_is_read_and_gives_the_same_points(tmp_path: Path) -> None:
    calibration = a_calibration()
    write_calibration(str(tmp_path), calibration)
    again = read_calibration(str(tmp_path))
    for field in dataclasses.fields(Calibration):
        if field.name not in ("found", "unrelated"):
            assert getattr(again, field.name) == getattr(calibration, field.name)
    assert again.unrelated.closest == calibration.unrelated.closest
    assert again.unrelated.combined.tolist() == calibration.unrelated.combined.tolist()
    for name, found in calibration.found.items():
        assert again.found[name].combined == pytest.approx(found.combined, abs=1.1e-4)
        assert (again.found[name].combined <= found.combined + 1e-6).all()
    assert again.points().best(0.95) == calibration.chosen
    write_calibration(str(tmp_path / "again"), again)
    assert (tmp_path / "again" / FILE).read_bytes() == (tmp_path / FILE).read_bytes()


def test_the_file_says_the_points_the_curves_and_the_edits(tmp_path: Path) -> None:
    calibration = a_calibration()
    write_calibration(str(tmp_path), calibration)
    value = json.loads((tmp_path / FILE).read_bytes())
    assert set(value["points"]) == set(TARGETS)
    for name, precision in TARGETS.items():
        assert value["points"][name]["least_precision"] >= precision
    assert value["chosen"] == value["points"]["P95"]
    assert value["edits"]["easy"]["thumbnail"] == value["edits"]["easy"]["chosen"] == 1
    assert value["edits"]["hard"]["thumbnail"] == 0
    assert value["edits"]["hard"]["embedding"] == value["edits"]["hard"]["chosen"] == 1
    for line in value["curves"].values():
        assert {len(column) for column in line.values()} == {len(THRESHOLDS)}
    alone = value["curves"]["embedding"]["threshold"].index(value["alone"]["embedding"])
    assert value["curves"]["embedding"]["least_precision"][alone] >= 0.95
    assert value["curves"]["embedding"]["least_precision"][alone - 1] < 0.95


def test_a_calibration_without_a_point_is_kept_as_well(tmp_path: Path) -> None:
    calibration = a_calibration()
    hopeless = dataclasses.replace(calibration, catalog=Catalog(10**9, 1e-6), chosen=None)
    assert hopeless.points().best(0.95) is None
    write_calibration(str(tmp_path), hopeless)
    assert read_calibration(str(tmp_path)).chosen is None
    value = json.loads((tmp_path / FILE).read_bytes())
    assert value["points"] == dict.fromkeys(TARGETS)
    assert value["edits"]["easy"] == {"thumbnail": None, "embedding": None, "chosen": None}


def test_what_is_no_calibration_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no calibration.json; make one with catalog-indexer dedupe calibrate"):
        read_calibration(str(tmp_path))
    write_calibration(str(tmp_path), a_calibration())
    written = json.loads((tmp_path / FILE).read_bytes())
    for broken in ("{", "[]", json.dumps({"schema_version": 1}), json.dumps({**written, "found": {"x": {}}})):
        (tmp_path / FILE).write_text(broken)
        with pytest.raises(IntegrityError, match=r"calibration\.json is damaged"):
            read_calibration(str(tmp_path))
    short = {**written, "unrelated": {**written["unrelated"], "combined": [1, 2]}}
    (tmp_path / FILE).write_text(json.dumps(short))
    with pytest.raises(IntegrityError, match="2 counts where there are 121 thresholds"):
        read_calibration(str(tmp_path))
    (tmp_path / FILE).write_text(json.dumps({**written, "schema_version": 2}))
    with pytest.raises(UsageError, match="has schema version 2; this version reads 1"):
        read_calibration(str(tmp_path))


def test_the_measure_beside_it_is_the_one_that_was_calibrated(tmp_path: Path) -> None:
    measure = Measure.fit(*pictures(20, 1, seed=1))
    calibration = a_calibration(measure.to_bytes())
    with pytest.raises(IntegrityError, match=r"measure.npz is missing"):
        read_measure(str(tmp_path), calibration)
    measure.save(str(tmp_path / MEASURE_FILE))
    assert read_measure(str(tmp_path), calibration).to_bytes() == measure.to_bytes()
    Measure.fit(*pictures(20, 1, seed=2)).save(str(tmp_path / MEASURE_FILE))
    with pytest.raises(IntegrityError, match=r"is not the measure that calibration.json beside it is of"):
        read_measure(str(tmp_path), calibration)


def test_verdicts_come_back_as_they_were_filled_in(tmp_path: Path) -> None:
    pairs = [Closest("a", "ü,b", 0.9, 0.8), Closest('q"', "c", 0.9, 0.7), Closest("d", "e", 0.9, 0.6)]
    blank = closest_csv(pairs, {"a": "/pictures/a.jpg"}).decode()
    assert blank.splitlines()[1] == 'a,"ü,b",,0.9,0.8,/pictures/a.jpg,'
    lines = blank.splitlines()
    lines[1] = lines[1].replace(",,0.9,", ",Same ,0.9,")
    lines[2] = lines[2].replace(",,0.9,", ",different,0.9,")
    (tmp_path / "closest.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    assert reviewed_same(str(tmp_path / "closest.csv")) == [("a", "ü,b")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "no such file"),
        (b"\xff\xfe", "is not UTF-8 text; expected a CSV like closest.csv"),
        (b"item_id,other_item_id\na,b\n", "has no column verdict; expected a CSV like closest.csv"),
        (b"", "has no column item_id; expected a CSV like closest.csv"),
        (b"item_id,other_item_id,verdict\na,b,same\na,c,maybe\n", "row 3: verdict maybe is none of same, different"),
    ],
)
def test_a_wrong_file_of_verdicts_is_one_sentence(tmp_path: Path, data: bytes | None, message: str) -> None:
    if data is not None:
        (tmp_path / "v.csv").write_bytes(data)
    with pytest.raises(UsageError, match=message):
        reviewed_same(str(tmp_path / "v.csv"))
