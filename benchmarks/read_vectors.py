"""Rates of reading the vectors of an embedding file, against the bare bytes and against Arrow.

`python -m benchmarks.read_vectors --json` writes one file of float16 vectors as the embed job does, which the system
then keeps in memory, and reads it in turn: all of its bytes with `readinto`, its vectors with `read_vectors`, both into
memory that was used before, and its vectors with Arrow. A rate is the bytes that were asked for by the seconds: of the
file for the bare bytes, of the vectors alone for the others. All but the bare bytes check every page.

The bare bytes are read into an array as NumPy gives it out (`raw`), which begins 16 bytes into a page of memory, and
into one that begins on a page (`raw_aligned`): some processors copy much faster to there.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.report import interleaved, print_report, ratio
from catalog.embedding_file import EmbeddingFileWriter, read_file, schema, vector_array, vectors_of
from catalog.vector_column import read_vectors

_BLOCK = 20_000
_PAGE = 4_096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=400_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        path = write(Path(scratch) / "vectors.parquet", args.vectors, args.dimension)
        size, dimension = path.stat().st_size, args.dimension
        every_byte = np.zeros(size, np.uint8)
        aligned = np.zeros(size + _PAGE, np.uint8)
        aligned = aligned[-aligned.ctypes.data % _PAGE :][:size]
        every_vector = np.zeros((args.vectors, dimension), np.float16)
        measured = {
            "raw": lambda: rate(size, lambda: read_raw(path, every_byte)),
            "raw_aligned": lambda: rate(size, lambda: read_raw(path, aligned)),
            "ours": lambda: rate(every_vector.nbytes, lambda: read_vectors(str(path), dimension, every_vector)),
            "ours_into_new_memory": lambda: rate(every_vector.nbytes, lambda: read_vectors(str(path), dimension)),
            "pyarrow": lambda: rate(every_vector.nbytes, lambda: read_by_arrow(path, dimension)),
        }
        interleaved(1, measured)  # Everything is touched once.
        rates = interleaved(args.rounds, measured)
    print_report(
        "read_vectors",
        args.json,
        vectors=args.vectors,
        dimension=dimension,
        file_bytes=size,
        gigabytes_per_second={name: round(statistics.median(found), 2) for name, found in rates.items()},
        ratios={
            "ours_over_raw": ratio(rates["ours"], rates["raw"]),
            "ours_over_raw_aligned": ratio(rates["ours"], rates["raw_aligned"]),
            "ours_into_new_memory_over_raw": ratio(rates["ours_into_new_memory"], rates["raw"]),
            "ours_over_pyarrow": ratio(rates["ours"], rates["pyarrow"]),
        },
    )


def rate(size: int, read: Callable[[], object]) -> float:
    """Gigabytes a second."""
    started = time.perf_counter()
    read()
    return size / (time.perf_counter() - started) / 1e9


def read_raw(path: Path, into: np.ndarray) -> None:
    """The bytes of a file, as `np.fromfile` reads them, into memory that is there already."""
    left = into.data
    with path.open("rb", buffering=0) as file:
        while left:
            left = left[file.readinto(left) :]


def read_by_arrow(path: Path, dimension: int) -> np.ndarray:
    return vectors_of(read_file(str(path), ["embedding"])["embedding"], dimension)


def write(path: Path, rows: int, dimension: int) -> Path:
    """An embedding file of random vectors, hashes and thumbnails."""
    rng = np.random.default_rng(0)
    writer = EmbeddingFileWriter(path, schema(dimension, "float16", pa.schema([])), "benchmark")
    for first in range(0, rows, _BLOCK):
        count = min(_BLOCK, rows - first)
        numbers = range(first, first + count)
        columns = {
            "item_id": [f"item-{number:09d}" for number in numbers],
            "product_id": pa.nulls(count, pa.string()),
            "embedding": vector_array(rng.standard_normal((count, dimension), np.float32), "float16"),
            "content_hash": pa.array([rng.bytes(32) for _ in numbers], pa.binary(32)),
            "phash": rng.integers(0, 2**64, count, np.uint64),
            "thumbnail": pa.array([rng.bytes(192) for _ in numbers], pa.binary(192)),
            "width": np.full(count, 640, np.int32),
            "height": np.full(count, 480, np.int32),
            "image_uri": [f"gs://shop/images/{number:09d}.jpg" for number in numbers],
            "source_version": [str(number) for number in numbers],
            "pixel_hash": pa.array([rng.bytes(16) for _ in numbers], pa.binary(16)),
            "phash_256": pa.array([rng.bytes(32) for _ in numbers], pa.binary(32)),
            "bytes": np.full(count, 100_000, np.int64),
        }
        writer.append(pa.table(columns))
    return writer.finish()


if __name__ == "__main__":
    main()
