"""The calibration of `dedupe`: pictures of a snapshot are read again, edited, encoded, and looked for.

No Beam: a few thousand pictures are encoded on the machine that asks.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from catalog import storage
from catalog.embedding_file import vectors_of
from catalog.encoder_info import IMPORTED
from catalog.errors import EncoderMismatchError, UsageError
from catalog.run import Run
from catalog.snapshot import Snapshot, latest_snapshot, read_snapshot
from dedupe import calibration as files
from dedupe.calibration import Calibration
from dedupe.edits import edit, edits_named
from dedupe.measure import FILE as MEASURE_FILE
from dedupe.measure import Measure
from dedupe.operating_points import Catalog, Found
from dedupe.row_sample import sample_rows
from dedupe.unrelated import best_scores, compare_unrelated
from dedupe.views import DEFAULT_VIEWS, TURNED_VIEWS
from encoders.decode import DecodeError, DecodeLimits, decode
from encoders.image_encoder import ImageEncoder
from encoders.image_loader import ImageRequest, LoadedImage, cores
from encoders.meter import Meter
from encoders.registry import load_encoder

_FEWEST = 10
# Pictures whose edits are on the local disk at a time.
_AT_ONCE = 16
# Sides of a picture that is edited, at most: what is finer no encoder sees, and large pictures take long.
_TIMES_INPUT = 8
_MOST_SIDE = 1_024
_COLUMNS = ("product_id", "content_hash", "pixel_hash", "phash", "thumbnail", "embedding", "image_uri")


@dataclass(frozen=True)
class CalibrateConfig:
    """One calibration.

    Attributes:
        embeddings: URL of the embedding store.
        output: URL of the folder to write.
        snapshot: which one; None for the newest.
        pictures: how many to edit.
        sample: how many rows to compare with each other.
        edits: see `dedupe.edits.edits_named`.
        flips: look for mirrored and turned pictures too.
        precision: that the thresholds should have.
        copies: see `dedupe.operating_points.Catalog`.
        reviewed: URL of a CSV with verdicts of a person, or None.
    """

    embeddings: str
    output: str
    snapshot: int | None = None
    pictures: int = 300
    sample: int = 20_000
    edits: str = "default"
    flips: bool = False
    precision: float = 0.99
    copies: float = 1.0
    reviewed: str | None = None


def calibrate(config: CalibrateConfig, say: Callable[[str], None] = lambda line: None) -> Calibration:
    """Calibrates, and writes `calibration.json`, `measure.npz` and `closest.csv`, whatever was found.

    Raises:
        UsageError: a flag is wrong, the store has no pictures, its encoder is not here, or too few pictures can be
            read.
    """
    turned = config.flips or config.edits == "all"
    names = edits_named(config.edits, turned)
    output = storage.check_writable(storage.absolute(config.output))
    same = files.reviewed_same(storage.absolute(config.reviewed)) if config.reviewed else []
    store = storage.absolute(config.embeddings)
    snapshot = _snapshot(store, config)
    encoder, limits = _encoder(store, snapshot)
    rows = sample_rows(store, snapshot, max(config.sample, config.pictures), _COLUMNS)
    thumbnails, vectors = _pictures(rows, snapshot.encoder.dimension)
    measure = Measure.fit(thumbnails, vectors, (*DEFAULT_VIEWS, *TURNED_VIEWS) if turned else DEFAULT_VIEWS)
    descriptors = measure.describe(thumbnails, vectors)
    say(f"comparing {len(rows):,} pictures of snapshot {snapshot.sequence} with each other")
    unrelated = compare_unrelated(measure, descriptors, rows, same)
    editor = _Editor(measure, encoder, limits, names, np.float16 if snapshot.vector_type == "float16" else np.float32)
    found = editor.find(rows, descriptors, config.pictures, say)
    data = measure.to_bytes()
    result = Calibration(
        snapshot=snapshot.sequence,
        fingerprint=snapshot.encoder.fingerprint,
        measure=hashlib.sha256(data).hexdigest(),
        catalog=Catalog(snapshot.vectors, config.copies),
        precision=config.precision,
        pictures=editor.edited,
        unread=editor.unread,
        found=found,
        unrelated=unrelated,
        chosen=None,
    )
    result = replace(result, chosen=result.points().best(config.precision))
    uris = dict(zip(rows["item_id"].to_pylist(), rows["image_uri"].to_pylist(), strict=True))
    storage.write(storage.join(output, MEASURE_FILE), data)
    storage.write(storage.join(output, files.CLOSEST_FILE), files.closest_csv(unrelated.closest, uris))
    files.write_calibration(output, result)  # Last: where it is, all of it is.
    return result


def _snapshot(store: str, config: CalibrateConfig) -> Snapshot:
    snapshot = latest_snapshot(store) if config.snapshot is None else read_snapshot(store, config.snapshot)
    if snapshot is None or snapshot.vectors == 0:
        raise UsageError(f"--embeddings {config.embeddings} has no vectors; run catalog-indexer embed first")
    if snapshot.encoder.spec == IMPORTED:
        raise UsageError(
            f"--embeddings {config.embeddings} has imported vectors, which have no pictures to edit; give "
            "thresholds to dedupe by hand"
        )
    return snapshot


def _encoder(store: str, snapshot: Snapshot) -> tuple[ImageEncoder, DecodeLimits]:
    """The encoder of a snapshot and the limits that its pictures were decoded under."""
    try:
        launch = Run(store, snapshot.run).launch()
        engine, limits = str(launch["engine"]), DecodeLimits(**launch["limits"])
    except (FileNotFoundError, KeyError):  # The run is forgotten.
        engine, limits = "auto", DecodeLimits()
    encoder = load_encoder(snapshot.encoder.spec, engine)
    if encoder.info.fingerprint != snapshot.encoder.fingerprint:
        raise EncoderMismatchError(
            f"the encoder {snapshot.encoder.spec} is not what made snapshot {snapshot.sequence}: fingerprint "
            f"{encoder.info.fingerprint[:12]}, not {snapshot.encoder.fingerprint[:12]}; embed again with it first"
        )
    return ImageEncoder(encoder, limits), limits


def _pictures(rows: pa.Table, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [n, 192] and float32 [n, d] of rows."""
    thumbnails = np.frombuffer(b"".join(rows["thumbnail"].to_pylist()), np.uint8).reshape(len(rows), -1)
    return thumbnails, vectors_of(rows["embedding"], dimension).astype(np.float32)


class _Editor:
    """Edits pictures and scores them against what the store has of them.

    Attributes:
        edited, unread: pictures that were edited, and those that could not be read as they were.
    """

    def __init__(
        self,
        measure: Measure,
        encoder: ImageEncoder,
        limits: DecodeLimits,
        names: tuple[str, ...],
        stored: type[np.floating],
    ) -> None:
        self._measure, self._encoder, self._limits, self._names = measure, encoder, limits, names
        self._stored = stored
        self._height, self._width = (max(_MOST_SIDE, _TIMES_INPUT * side) for side in encoder.info.input_size)
        self.edited = self.unread = 0

    def find(
        self, rows: pa.Table, descriptors: np.ndarray, wanted: int, say: Callable[[str], None]
    ) -> dict[str, Found]:
        """By edit, the scores of the first `wanted` pictures that can be read. Raises UsageError where too few can."""
        scores: dict[str, list[tuple[float, float]]] = {name: [] for name in self._names}
        places = _distinct(rows)
        least = max(1, min(_FEWEST, wanted, len(places)))
        with ThreadPoolExecutor(cores()) as pool:
            while self.edited < wanted and places:
                count = min(_AT_ONCE, wanted - self.edited)
                block, places = places[:count], places[count:]
                with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as folder:
                    self._score(Path(folder), pool, rows, descriptors, block, scores)
                if self.edited and self.edited // 64 != (self.edited - count) // 64:
                    say(f"encoded the edits of {self.edited:,} of {wanted:,} pictures")
        if self.edited < least:
            raise UsageError(
                f"{self.edited:,} pictures of the sample could be read again as they were embedded, and "
                f"{self.unread:,} could not; a calibration needs {least}: run embed again, and see that their "
                "locations can be read from here"
            )
        return {name: Found(*np.array(pairs, np.float32).reshape(-1, 2).T) for name, pairs in scores.items()}

    def _score(
        self,
        folder: Path,
        pool: ThreadPoolExecutor,
        rows: pa.Table,
        descriptors: np.ndarray,
        block: list[int],
        scores: dict[str, list[tuple[float, float]]],
    ) -> None:
        """Adds the scores of the edits of some rows."""
        picked = rows.take(pa.array(block))
        given = zip(picked["image_uri"].to_pylist(), picked["content_hash"].to_pylist(), strict=True)
        made = list(pool.map(lambda pair: self._edit(folder / str(pair[0]), *pair[1]), enumerate(given)))
        self.unread += made.count(None)
        paths = [path for paths in made for path in paths or ()]
        answers = self._encoder.encode_all((ImageRequest(str(path)) for path in paths), Meter())
        for place, edits in zip(block, made, strict=True):
            if edits is None:
                continue
            for name, described in zip(self._names, self._described(answers, len(edits)), strict=True):
                one = descriptors[place : place + 1]
                pair = best_scores(self._measure.scoring, one, described[None])
                scores[name].append((float(pair[0][0, 0]), float(pair[1][0, 0])))
            self.edited += 1

    def _described(self, answers: Iterator[object], count: int) -> np.ndarray:
        """int8 [count, V, D] of the next answers, rounded as the store rounds."""
        loaded = [next(answers) for _ in range(count)]
        images = [each for each in loaded if isinstance(each, LoadedImage)]
        assert len(images) == count, loaded  # We wrote these files ourselves.
        thumbnails = np.frombuffer(b"".join(each.thumbnail for each in images), np.uint8).reshape(count, -1)
        vectors = np.stack([each.vector for each in images if each.vector is not None])
        return self._measure.describe(thumbnails, vectors.astype(self._stored).astype(np.float32))

    def _edit(self, start: Path, uri: str, content: bytes) -> list[Path] | None:
        """The files of all edits of a picture; None where it cannot be read, or is not what was embedded."""
        try:
            data = storage.fetch(uri, self._limits.max_bytes + 1).data
            if hashlib.sha256(data).digest() != content:
                return None
            # Of JPEGs, which come reduced, twice as large.
            image = decode(data, self._limits, least=(self._height // 2, self._width // 2)).image
        except (OSError, ValueError, UsageError, DecodeError):
            return None
        image.thumbnail((self._width, self._height), Image.Resampling.LANCZOS)
        paths = []
        for name in self._names:
            path = start.with_name(f"{start.name}-{name}.jpg")
            path.write_bytes(edit(image, name))
            paths.append(path)
        return paths


def _distinct(rows: pa.Table) -> list[int]:
    """Places of rows, one for each content."""
    places: dict[bytes, int] = {}
    for place, content in enumerate(rows["content_hash"].to_pylist()):
        places.setdefault(content, place)
    return list(places.values())
