"""Seconds, recall and queries per second of our index build against FAISS's `index_factory` and against autofaiss.

`python -m benchmarks.index --vectors F.npy --json` cuts 1,000 queries off real vectors (`python -m benchmarks.features`
makes them), puts the rest into an embedding store, and builds from there in turn: our stages; `index_factory` with the
same factory string and the same training rows, reading the same Parquet files through Arrow; and, with `--autofaiss
PYTHON`, autofaiss in an environment of its own, given the size of our index as its budget. A build is everything from
opening the embedding files to the closed index file. All indexes are asked codes alone, all cores, in one batch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.build_stages import import_store, index_path, job_of, run_stages, training_rows
from benchmarks.report import interleaved, print_report, ratio
from catalog.embedding_file import read_file, vectors_of
from catalog.snapshot import Snapshot
from index_builder.assembly.snapshot_vectors import partition_ids
from index_builder.evaluation.ground_truth import exact_neighbours
from index_builder.evaluation.recall import recall_at
from index_builder.faiss_import import faiss
from index_builder.measures import prepare
from index_builder.planning.plan import plan_index

QUERIES = 1_000
NPROBES = (16, 32, 64, 128, 256, 512, 768)
EQUAL = (16, 64)  # Where recall at equal nprobe is compared.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", metavar="F.npy", help="real vectors; without it, 40,000 drawn ones")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--autofaiss", metavar="PYTHON", help="interpreter of an environment with autofaiss")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        print_report("index", args.json, **compare(args, Path(scratch)))


def compare(args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Builds with everybody and asks everybody."""
    vectors = np.load(args.vectors) if args.vectors else clustered(41_000, 128)
    vectors = prepare(vectors[np.random.default_rng(0).permutation(len(vectors))], "cosine")
    queries, base = vectors[:QUERIES], vectors[QUERIES:]
    np.save(scratch / "base.npy", base)
    snapshot = import_store(str(scratch / "base.npy"), scratch / "store")
    exact = exact_neighbours(queries, base, np.arange(len(base)), "cosine", 10).rows
    row_to_number = np.array(
        [
            int(each)
            for partition in range(snapshot.partitions)
            for each in partition_ids(str(scratch / "store"), snapshot, partition)
        ]
    )
    plan = plan_index(len(base), base.shape[1], "cosine")
    asked: dict[str, list[dict[str, float]]] = {}
    stages: list[dict[str, float]] = []
    jobs: list[Any] = []

    def ours() -> float:
        job = job_of(scratch / "store", scratch / f"ours-{len(jobs)}", plan)
        jobs.append(job)
        stages.append(run_stages(job))
        index = faiss().read_index(index_path(job))
        asked["ours"] = ask(index, queries, exact, row_to_number)
        return stages[-1]["total"]

    def plain() -> float:
        sample, started = training_rows(jobs[-1]), time.perf_counter()
        read = read_through_arrow(scratch / "store", snapshot)
        index = faiss().index_factory(base.shape[1], plan.factory, faiss().METRIC_INNER_PRODUCT)
        index.train(sample)
        index.add(read)
        faiss().write_index(index, str(scratch / "plain.faiss"))
        seconds = time.perf_counter() - started
        asked["index_factory"] = ask(index, queries, exact, file_order(scratch / "store", snapshot))
        return seconds

    report: dict[str, Any] = {}

    def autofaiss() -> float:
        np.save(scratch / "queries.npy", queries)
        np.save(scratch / "exact.npy", exact)
        size = Path(index_path(jobs[-1])).stat().st_size
        script = Path(__file__).with_name("autofaiss_build.py")
        command = [args.autofaiss, str(script), str(scratch), str(size), *map(str, NPROBES)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        found = json.loads(done.stdout.splitlines()[-1])
        report["autofaiss"] = found
        return float(found["seconds"])

    measured = {"ours": ours, "index_factory": plain, **({"autofaiss": autofaiss} if args.autofaiss else {})}
    seconds = interleaved(args.rounds, measured)
    ratios = {"build_speed_over_index_factory": ratio(seconds["index_factory"], seconds["ours"])}
    for nprobe in EQUAL:
        mine, theirs = at_nprobe(asked["ours"], nprobe), at_nprobe(asked["index_factory"], nprobe)
        ratios[f"recall_over_index_factory_at_nprobe_{nprobe}"] = round(mine["recall"] / theirs["recall"], 4)
    if args.autofaiss:
        ratios["build_speed_over_autofaiss"] = ratio(seconds["autofaiss"], seconds["ours"])
        ratios |= against(report["autofaiss"], asked["ours"])
    return {
        "factory": plan.factory,
        "vectors": len(base),
        "dimension": base.shape[1],
        "training_rows": plan.training_rows,
        "index_bytes": Path(index_path(jobs[-1])).stat().st_size,
        "build_seconds": {name: [round(each, 2) for each in found] for name, found in seconds.items()},
        "our_stages": stages[-1],
        "points": asked,
        **report,
        "ratios": ratios,
    }


def read_through_arrow(store: Path, snapshot: Snapshot) -> np.ndarray:
    """float32 [n, d] of all files, as a program would read them that knows nothing of ours."""
    blocks = [
        vectors_of(read_file(str(store / entry.path), ["embedding"])["embedding"], snapshot.encoder.dimension)
        for entry in snapshot.files
    ]
    return prepare(np.concatenate(blocks), "cosine")


def file_order(store: Path, snapshot: Snapshot) -> np.ndarray:
    """int64 [n]: the original row of each row of `read_through_arrow`."""
    ids = [read_file(str(store / entry.path), ["item_id"])["item_id"].to_pylist() for entry in snapshot.files]
    return np.array([int(each) for some in ids for each in some])


def ask(index: Any, queries: np.ndarray, exact: np.ndarray, numbers: np.ndarray) -> list[dict[str, float]]:
    """Recall@10 and queries per second at each nprobe."""
    inner, points = faiss().extract_index_ivf(index), []
    for nprobe in NPROBES:
        inner.nprobe = nprobe
        index.search(queries[:100], 10)
        started = time.perf_counter()
        found = index.search(queries, 10)[1]
        rate = len(queries) / (time.perf_counter() - started)
        recall = recall_at(numbers[found], exact, (10,))["10"]
        points.append({"nprobe": nprobe, "recall": round(recall, 4), "queries_per_second": round(rate)})
    return points


def at_nprobe(points: list[dict[str, float]], nprobe: int) -> dict[str, float]:
    """The point with that nprobe."""
    return next(each for each in points if each["nprobe"] == nprobe)


def against(theirs: dict[str, Any], ours: list[dict[str, float]]) -> dict[str, Any]:
    """Ours at the cheapest point that finds no less than autofaiss as it tuned itself, or else at the best."""
    enough = [each for each in ours if each["recall"] >= theirs["recall"]]
    point = enough[0] if enough else max(ours, key=lambda each: each["recall"])
    return {
        "compared_at_nprobe": point["nprobe"],
        "recall_over_autofaiss": round(point["recall"] / theirs["recall"], 4),
        "queries_per_second_over_autofaiss": round(point["queries_per_second"] / theirs["queries_per_second"], 2),
    }


def clustered(count: int, dimension: int) -> np.ndarray:
    """float32 [count, dimension]: clusters within clusters, with variances that fall as those of real embeddings do."""
    rng = np.random.default_rng(0)
    scale = np.arange(1, dimension + 1) ** -0.5
    coarse = rng.normal(size=(40, dimension)) * scale
    fine = coarse[rng.integers(0, 40, 800)] + 0.6 * rng.normal(size=(800, dimension)) * scale
    points = fine[rng.integers(0, 800, count)] + 0.4 * rng.normal(size=(count, dimension)) * scale
    return points.astype(np.float32)


if __name__ == "__main__":
    main()
