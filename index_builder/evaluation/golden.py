"""Golden queries: a few questions stored with a version's own answers, so that a consumer can ask them again and see
that the index it opened is the index that was evaluated.

`golden.npz` is a plain NumPy archive, read without pickle: `vectors` float32 [n, d], `rows` int64 [n, 10], `values`
float32 [n, 10], and `about.json` with the operating point. The same answers are the same bytes.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from catalog import canonical_json
from catalog.errors import IntegrityError, UsageError
from index_builder.searching.searcher import OperatingPoint, Searcher
from index_builder.training.sample import VectorSample

QUERIES = 32
NEIGHBOURS = 10
SCHEMA_VERSION = 1
# Other processors add in another order, and 4-bit codes compare through tables of 8-bit numbers.
_TOLERANCE = 1e-3
# Of the query's squared length, from which FAISS subtracts in order to get distances.
_ROUNDING = 1e-6
_ABOUT = "about.json"
_ARRAYS = {"vectors": np.float32, "rows": np.int64, "values": np.float32}


@dataclass(frozen=True)
class Golden:
    """Queries float32 [n, d], prepared, and what the index answered at `point`: `rows` int64 [n, k], `values` float32
    [n, k], as FAISS measures."""

    vectors: np.ndarray
    rows: np.ndarray
    values: np.ndarray
    point: OperatingPoint


def ask_golden(searcher: Searcher, queries: VectorSample, point: OperatingPoint) -> Golden:
    """The 32 queries of the lowest hashes, and the index's answers to them."""
    chosen = np.lexsort((queries.rows, queries.keys))[:QUERIES]
    vectors = np.ascontiguousarray(queries.vectors[chosen], np.float32)
    return Golden(vectors, *searcher.search(vectors, NEIGHBOURS, point), point)


def write_golden(path: Path, golden: Golden) -> None:
    """Writes `golden.npz`."""
    about = {"schema_version": SCHEMA_VERSION, "point": golden.point.to_json()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_ABOUT), canonical_json.dump(about))  # A ZipInfo is dated 1980.
        for name, dtype in _ARRAYS.items():
            buffer = io.BytesIO()
            array = np.ascontiguousarray(getattr(golden, name), dtype)
            np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue())


def read_golden(path: Path) -> Golden:
    """Reads `golden.npz`.

    Raises:
        IntegrityError: it is damaged.
        UsageError: a later version of catalog-indexer wrote it.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            about = canonical_json.load(archive[_ABOUT], str(path))
            if about["schema_version"] != SCHEMA_VERSION:
                raise UsageError(
                    f"{path} has schema version {about['schema_version']}; this version of catalog-indexer reads "
                    f"{SCHEMA_VERSION}"
                )
            arrays = {name: archive[name] for name in _ARRAYS}
            point = OperatingPoint.from_json(about["point"])
    except (KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile, EOFError) as error:
        raise IntegrityError(f"{path} is damaged: {error}") from None
    shapes = {name: array.shape for name, array in arrays.items()}
    if {array.ndim for array in arrays.values()} != {2} or shapes["rows"] != shapes["values"]:
        raise IntegrityError(f"{path} is damaged: its arrays have the shapes {shapes}")
    return Golden(point=point, **arrays)


def check_golden(searcher: Searcher, golden: Golden) -> list[str]:
    """Asks the golden queries again.

    Values may differ by a thousandth, and rows that are as far away as the last one, within that, may stand for each
    other.

    Returns:
        A sentence for each query that is answered differently; none when all is well.
    """
    rows, values = searcher.search(golden.vectors, golden.rows.shape[1], golden.point)
    if rows.shape != golden.rows.shape:
        return [f"the golden queries have {golden.rows.shape[1]} neighbours each, the index gives {rows.shape[1]}"]
    differences = []
    for query, vector in enumerate(golden.vectors):
        there = golden.rows[query] >= 0
        if not np.array_equal(there, rows[query] >= 0):
            differences.append(f"golden query {query}: {int((rows[query] >= 0).sum())} rows, expected {there.sum()}")
            continue
        expected = golden.values[query][there].astype(np.float64)
        if len(expected) == 0:
            continue
        allowed = _TOLERANCE * np.abs(expected).max() + _ROUNDING * float(vector.astype(np.float64) @ vector)
        off = np.abs(values[query][there] - expected)
        gone = ~np.isin(golden.rows[query][there], rows[query]) & (np.abs(expected - expected[-1]) > allowed)
        if not (off <= allowed).all():
            place = int(np.argmax(~(off <= allowed)))
            found = values[query][there][place]
            differences.append(
                f"golden query {query}: neighbour {place + 1} has the value {found:.6g}, expected {expected[place]:.6g}"
            )
        elif gone.any():
            row = int(golden.rows[query][there][np.argmax(gone)])
            differences.append(f"golden query {query}: row {row} is not found any more")
    return differences
