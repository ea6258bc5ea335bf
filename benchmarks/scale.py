"""Does a build stay linear and small? Seconds per vector and peak memory at 1 million and at 10 million vectors.

`python -m benchmarks.scale --vectors F.npy --work DIR --json` makes both stores on disk from real vectors (each a step
from one real vector towards another, so that they lie where real ones do), builds each in a process of its own with
lists of the same length, and prints how seconds per vector grow and what memory a build takes beyond its codebook. A
store of ten million 256-d float16 vectors takes 5 GB, and 12 GB while it is made.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.build_stages import import_store
from benchmarks.report import print_report
from index_builder.planning.index_plan import IndexPlan
from index_builder.planning.plan import plan_index

VECTORS_A_LIST = 244
_BLOCK = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", required=True, metavar="F.npy", help="real vectors, float32 [n, d]")
    parser.add_argument("--work", required=True, metavar="DIR", help="a folder with room; stores in it are used again")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000_000, 10_000_000])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    work = Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    runs = [build(Path(args.vectors), work, size) for size in args.sizes]
    small, large = runs[0], runs[-1]
    print_report(
        "scale",
        args.json,
        vectors_a_list=VECTORS_A_LIST,
        runs=runs,
        ratios={
            "seconds_per_vector": round(large["microseconds_per_vector"] / small["microseconds_per_vector"], 3),
            "peak_megabytes_beyond_codebook": large["megabytes_beyond_codebook"],
        },
    )


def build(vectors: Path, work: Path, size: int) -> dict[str, Any]:
    """Builds one size in a process of its own."""
    store, root = work / f"store-{size}", work / f"root-{size}"
    dimension = np.load(vectors, mmap_mode="r").shape[1]
    if not (store / "snapshots").exists():
        np_file = work / "made.npy"
        make(vectors, np_file, size)
        import_store(str(np_file), store)
        np_file.unlink()
    shutil.rmtree(root, ignore_errors=True)
    plan = plan_of(size, dimension)
    command = [sys.executable, "-m", "benchmarks.build_stages", str(store), str(root), json.dumps(plan.to_json())]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout.splitlines()[-1])
    shutil.rmtree(root)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "vectors": size,
        "lists": plan.lists,
        "factory": plan.factory,
        "seconds": found["seconds"],
        "microseconds_per_vector": round(found["seconds"]["total"] / size * 1e6, 2),
        "processor_microseconds_per_vector": round(processor / size * 1e6, 2),
        "peak_megabytes": found["peak_megabytes"],
        "codebook_megabytes": found["codebook_megabytes"],
        "megabytes_beyond_codebook": round(found["peak_megabytes"] - found["codebook_megabytes"]),
    }


def plan_of(size: int, dimension: int) -> IndexPlan:
    """The default plan of a million vectors, with lists of the same length for any size."""
    plan, lists = plan_index(1_000_000, dimension, "cosine"), size // VECTORS_A_LIST
    factory = plan.factory.replace(f"IVF{plan.lists}", f"IVF{lists}")
    return replace(plan, lists=lists, factory=factory, training_rows=64 * lists, hnsw_links=0)


def make(vectors: Path, path: Path, size: int) -> None:
    """Writes `size` float16 vectors of unit length, some at a time."""
    real = np.load(vectors)
    rng = np.random.default_rng(7)
    with path.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (size, real.shape[1])}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, size, _BLOCK):
            count = min(_BLOCK, size - start)
            one, other = (real[rng.integers(0, len(real), count)] for _ in range(2))
            made = one + rng.uniform(0, 0.5, (count, 1)).astype(np.float32) * (other - one)
            made += rng.normal(0, 0.01, made.shape).astype(np.float32)
            made /= np.linalg.norm(made, axis=1, keepdims=True)
            file.write(made.astype("<f2").data)


if __name__ == "__main__":
    main()
