"""What a calibration found, and the file that keeps it: `calibration.json`.

The file holds the scores that the thresholds came from, so that what any other threshold would give is known without
another run. Beside it are the measure that the scores are of, `measure.npz`, and the pairs to look at, `closest.csv`.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from catalog import canonical_json, storage
from catalog.errors import IntegrityError, UsageError
from dedupe.measure import FILE as MEASURE_FILE
from dedupe.measure import Measure
from dedupe.operating_points import Catalog, Curve, Found, OperatingPoints, Point, curve
from dedupe.unrelated import THRESHOLDS, Closest, Unrelated, steps

SCHEMA_VERSION = 1
#: Its name in the folder of a calibration, and that of the pairs to look at.
FILE, CLOSEST_FILE = "calibration.json", "closest.csv"
#: By name, the precisions that every calibration looks for.
TARGETS = {"P90": 0.90, "P95": 0.95, "P99": 0.99}
_SAME, _DIFFERENT = "same", "different"


@dataclass(frozen=True)
class Calibration:
    """See the module.

    Attributes:
        snapshot, fingerprint: the snapshot whose pictures were taken, and of its encoder.
        measure: sha256 of `measure.npz`, in hex.
        catalog: what the thresholds are for.
        precision: that was asked for.
        pictures: that were edited.
        unread: of those that were to be, could not be read again as they were.
        found: by edit, the scores of each picture against its edit.
        unrelated: the scores of pairs that are no duplicates.
        chosen: the thresholds for `precision`; None where none reach it.
    """

    snapshot: int
    fingerprint: str
    measure: str
    catalog: Catalog
    precision: float
    pictures: int
    unread: int
    found: Mapping[str, Found]
    unrelated: Unrelated
    chosen: Point | None

    def points(self) -> OperatingPoints:
        """What any thresholds give."""
        return OperatingPoints(self._all_found(), self.unrelated, self.catalog)

    def curves(self) -> dict[str, Curve]:
        """Each score alone: `thumbnail` and `embedding`, which is the combination."""
        found, pairs = self._all_found(), self.unrelated.pairs
        return {
            "thumbnail": curve(found.thumbnail, self.unrelated.thumbnail, pairs, self.catalog),
            "embedding": curve(found.combined, self.unrelated.combined, pairs, self.catalog),
        }

    def alone(self) -> dict[str, float | None]:
        """The lowest threshold of each score at which it has `precision` without the other; None where it never has."""
        thresholds = {}
        for name, each in self.curves().items():
            enough = (each.least_precision >= self.precision) & (each.recall > 0) & (THRESHOLDS < 1)
            thresholds[name] = float(THRESHOLDS[enough][0]) if enough.any() else None
        return thresholds

    def recall_by_edit(self) -> dict[str, dict[str, float | None]]:
        """By edit, the share of pictures that it is found of: by each score `alone`, and by what was `chosen`."""
        alone = self.alone()
        table: dict[str, dict[str, float | None]] = {}
        for name, found in self.found.items():
            table[name] = {
                "thumbnail": _share(found.thumbnail, alone["thumbnail"]),
                "embedding": _share(found.combined, alone["embedding"]),
                "chosen": None,
            }
            if self.chosen:
                either = steps(found.thumbnail) > _place(self.chosen.thumbnail_threshold)
                either |= steps(found.combined) > _place(self.chosen.threshold)
                table[name]["chosen"] = round(float(either.mean()), 4)
        return table

    def to_json(self) -> dict[str, Any]:
        points = self.points()
        targets = {name: points.best(precision) for name, precision in TARGETS.items()}
        return {
            "schema_version": SCHEMA_VERSION,
            "snapshot": self.snapshot,
            "fingerprint": self.fingerprint,
            "measure": self.measure,
            **asdict(self.catalog),
            "precision": self.precision,
            "pictures": self.pictures,
            "unread": self.unread,
            "chosen": asdict(self.chosen) if self.chosen else None,
            "points": {name: asdict(point) if point else None for name, point in targets.items()},
            "alone": self.alone(),
            "edits": self.recall_by_edit(),
            "curves": {name: _curve_json(each) for name, each in self.curves().items()},
            "unrelated": {
                **asdict(self.unrelated),
                "thumbnail": self.unrelated.thumbnail.tolist(),
                "combined": self.unrelated.combined.tolist(),
            },
            "found": {
                name: {"thumbnail": _written(each.thumbnail), "combined": _written(each.combined)}
                for name, each in self.found.items()
            },
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Calibration:
        unrelated = value["unrelated"]
        return cls(
            snapshot=int(value["snapshot"]),
            fingerprint=str(value["fingerprint"]),
            measure=str(value["measure"]),
            catalog=Catalog(int(value["vectors"]), float(value["copies"])),
            precision=float(value["precision"]),
            pictures=int(value["pictures"]),
            unread=int(value["unread"]),
            found={
                name: Found(_scores(each["thumbnail"]), _scores(each["combined"]))
                for name, each in value["found"].items()
            },
            unrelated=Unrelated(
                rows=int(unrelated["rows"]),
                pairs=int(unrelated["pairs"]),
                thumbnail=_counts(unrelated["thumbnail"]),
                combined=_counts(unrelated["combined"]),
                left_out={str(name): int(count) for name, count in unrelated["left_out"].items()},
                closest=tuple(Closest(**each) for each in unrelated["closest"]),
            ),
            chosen=Point(**value["chosen"]) if value["chosen"] else None,
        )

    def _all_found(self) -> Found:
        pairs = self.found.values()
        return Found(np.concatenate([p.thumbnail for p in pairs]), np.concatenate([p.combined for p in pairs]))


def read_calibration(folder: str) -> Calibration:
    """The calibration in a folder.

    Raises:
        UsageError: there is none, or it is of a newer version.
        IntegrityError: the file is damaged.
    """
    url = storage.join(folder, FILE)
    try:
        data = storage.read_bytes(url)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{folder} has no {FILE}; make one with catalog-indexer dedupe calibrate") from None
    version = canonical_json.parse(data, url, lambda value: value["schema_version"])
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{url} has schema version {version}; this version reads {SCHEMA_VERSION}: calibrate again, or upgrade "
            "catalog-indexer"
        )
    return canonical_json.parse(data, url, Calibration.from_json)


def read_measure(folder: str, calibration: Calibration) -> Measure:
    """The measure beside a calibration. Raises IntegrityError when it is missing or not the one that was calibrated."""
    url = storage.join(folder, MEASURE_FILE)
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        raise IntegrityError(f"{url} is missing; calibrate again with catalog-indexer dedupe calibrate") from None
    if hashlib.sha256(data).hexdigest() != calibration.measure:
        raise IntegrityError(f"{url} is not the measure that {FILE} beside it is of; calibrate again")
    return Measure.from_bytes(data, url)


def write_calibration(folder: str, calibration: Calibration) -> None:
    """Writes the file in its folder, in place of one that was there."""
    storage.write(storage.join(folder, FILE), canonical_json.dump(calibration.to_json()))


def closest_csv(closest: Sequence[Closest], image_uris: Mapping[str, str]) -> bytes:
    """The most alike pairs that count as unrelated, for a person to say `same` or `different` of."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["item_id", "other_item_id", "verdict", "thumbnail", "score", "image_uri", "other_image_uri"])
    for pair in closest:
        uris = [image_uris.get(each, "") for each in (pair.item_id, pair.other_item_id)]
        writer.writerow([pair.item_id, pair.other_item_id, "", pair.thumbnail, pair.combined, *uris])
    return text.getvalue().encode()


def reviewed_same(url: str) -> list[tuple[str, str]]:
    """The pairs of a file like `closest.csv` whose `verdict` is `same`. Raises UsageError naming file and row."""
    try:
        text = storage.read_bytes(url).decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"--reviewed {url}: no such file") from None
    except UnicodeDecodeError:
        raise UsageError(f"--reviewed {url} is not UTF-8 text; expected a CSV like {CLOSEST_FILE}") from None
    reader = csv.DictReader(io.StringIO(text))
    for name in ("item_id", "other_item_id", "verdict"):
        if name not in (reader.fieldnames or ()):
            raise UsageError(f"--reviewed {url} has no column {name}; expected a CSV like {CLOSEST_FILE}")
    pairs = []
    for number, row in enumerate(reader, start=2):
        verdict = (row["verdict"] or "").strip().lower()
        if verdict not in ("", _SAME, _DIFFERENT):
            raise UsageError(f"--reviewed {url} row {number}: verdict {verdict} is none of {_SAME}, {_DIFFERENT}")
        if verdict == _SAME:
            pairs.append((row["item_id"], row["other_item_id"]))
    return pairs


def _place(threshold: float) -> int:
    return max(0, int(steps(np.array([threshold]))[0]) - 1)


def _share(scores: np.ndarray, threshold: float | None) -> float | None:
    """Of scores that reach a threshold."""
    return None if threshold is None else round(float((steps(scores) > _place(threshold)).mean()), 4)


def _curve_json(of: Curve) -> dict[str, list[float]]:
    columns = {name: [float(f"{each:.4g}") for each in values] for name, values in vars(of).items()}
    return {"threshold": THRESHOLDS.tolist(), **columns}


def _written(scores: np.ndarray) -> list[float]:
    """Four digits down: a score that does not reach a threshold does not do so because it was written."""
    return [float(each) for each in np.floor(np.asarray(scores, np.float64) * 10_000 + 1e-3) / 10_000]


def _counts(values: list[int]) -> np.ndarray:
    counts = np.array(values, np.int64)
    if counts.shape != THRESHOLDS.shape:
        raise ValueError(f"{len(counts)} counts where there are {len(THRESHOLDS)} thresholds")
    return counts


def _scores(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)
