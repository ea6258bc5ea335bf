"""How fast duplicates are found: photos a second against fastdup, and how a join of drawn pictures grows.

`python -m benchmarks.dedupe --images DIR … --encoder SPEC --fastdup PYTHON --json` finds the duplicates among all
photos of the folders and `--copies` edits of each, the same files for everybody, each run a process of its own from its
start to its end:
  fastdup     fastdup 2.54 with its defaults, by the interpreter of an environment that has it
  ours        the embed job, then the dedupe job without pictures in its gallery
  snapshot    the dedupe job alone, on the embeddings of `ours`
  gallery     the same with the 1,000 pictures that a gallery has by default
`python -m benchmarks.dedupe --rows 250000 500000 1000000 --work DIR --json` draws stores of so many rows, a tenth of
them near copies (`benchmarks/drawn_store.py`), and dedupes each in a process of its own: seconds, also of the
processor, pairs a second, peak memory, and the seconds a row of the last over those of the first. Stores in DIR are
used again.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.drawn_store import draw_store, planted
from benchmarks.labelled_photos import make_labelled, photos_below
from benchmarks.memory import peak_megabytes
from benchmarks.report import interleaved, print_report, ratio
from dedupe.edits import EDITS

GALLERY_PICTURES = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, nargs="+", help="folders of JPEG photos")
    parser.add_argument("--encoder", default="color-histogram", metavar="SPEC")
    parser.add_argument("--copies", type=int, default=0, help="edits of each photo (default: %(default)s)")
    parser.add_argument("--photos", type=int, help="use so many photos (default: all)")
    parser.add_argument("--fastdup", metavar="PYTHON", help="interpreter of an environment with fastdup")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rows", type=int, nargs="*", default=[], help="sizes of drawn stores, ascending")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where drawn stores are kept")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        if args.images:
            found["photos"] = photos(args, Path(scratch))
        if args.rows:
            found["join"] = join(args.rows, args.work or Path(scratch))
    print_report("dedupe", args.json, **found)


def photos(args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Photos a second of everybody, and how many times as many as fastdup's ours are."""
    folder, catalog = scratch / "photos", scratch / "catalog.csv"
    images = gather(folder, photos_below(args.images)[: args.photos], tuple(EDITS)[: args.copies])
    command("scan", folder, "--output", catalog)
    told: dict[str, dict[str, Any]] = {}
    stores: list[Path] = []

    def fastdup() -> float:
        script = Path(__file__).with_name("fastdup_run.py")
        work = scratch / f"fastdup-{time.monotonic_ns()}"
        started = time.perf_counter()
        done = subprocess.run([args.fastdup, str(script), str(folder), str(work)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        told["fastdup"] = json.loads(done.stdout.splitlines()[-1])
        return images / (time.perf_counter() - started)

    def ours() -> float:
        stores.append(scratch / f"store-{len(stores)}")
        started = time.perf_counter()
        command("embed", "--catalog", catalog, "--encoder", args.encoder, "--output", stores[-1])
        dedupe("ours", 0)
        return images / (time.perf_counter() - started)

    def dedupe(name: str, pictures: int) -> float:
        report = scratch / f"{name}-{time.monotonic_ns()}"
        started = time.perf_counter()
        command("dedupe", "--embeddings", stores[-1], "--output", report, "--pictures", pictures)
        rate = images / (time.perf_counter() - started)
        summary = json.loads((report / "summary.json").read_text())
        told[name] = {each: summary[each] for each in ("pairs", "groups", "dropped")}
        return rate

    measured = {
        "ours": ours,
        "snapshot": lambda: dedupe("snapshot", 0),
        "gallery": lambda: dedupe("gallery", GALLERY_PICTURES),
    }
    rates = interleaved(args.rounds, {**measured, **({"fastdup": fastdup} if args.fastdup else {})})
    ratios = {f"{name}_over_fastdup": ratio(rates[name], rates["fastdup"]) for name in measured if args.fastdup}
    return {
        "images": images,
        "encoder": args.encoder,
        "images_per_second": {name: [round(rate, 1) for rate in found] for name, found in rates.items()},
        "found": told,
        "ratios": ratios,
    }


def gather(folder: Path, taken: Sequence[Path], edits: Sequence[str]) -> int:
    """Brings photos and edits of them to one folder; returns how many files there are."""
    labelled = make_labelled(folder, taken, len(taken) if edits else 0, edits, ())
    labelled.catalog.unlink()
    for number, photo in enumerate(taken):
        shutil.copyfile(photo, folder / "images" / f"photo-{number:05d}.jpg")
    return len(labelled.made)


def command(*arguments: object) -> None:
    """Runs a command of ours in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "commands.main", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])


def join(sizes: Sequence[int], work: Path) -> dict[str, Any]:
    """Seconds and memory of the dedupe job on stores of some sizes."""
    runs = []
    for rows in sizes:
        store, report = work / f"drawn-{rows}", work / f"report-{rows}"
        if not (store / "snapshots").exists():
            draw_store(store, rows)
        shutil.rmtree(report, ignore_errors=True)
        started, before = time.perf_counter(), processor_seconds()
        flags = ["--embeddings", str(store), "--output", str(report), "--pictures", "0"]
        peak = peak_megabytes(["-m", "commands.main", "dedupe", *flags])
        seconds = time.perf_counter() - started
        summary = json.loads((report / "summary.json").read_text())
        runs.append(
            {
                "rows": rows,
                "seconds": round(seconds, 1),
                "processor_seconds": round(processor_seconds() - before, 1),
                "rows_per_second": round(rows / seconds),
                "pairs": summary["pairs"],
                "pairs_per_second": round(summary["pairs"] / seconds),
                "planted": planted(rows),
                "dropped": summary["dropped"],
                "peak_megabytes": round(peak),
            }
        )
        shutil.rmtree(report)
    growth = {
        f"{name}_a_row_last_over_first": round(
            (runs[-1][name] / runs[-1]["rows"]) / (runs[0][name] / runs[0]["rows"]), 3
        )
        for name in ("seconds", "processor_seconds")
    }
    return {"runs": runs, "ratios": growth}


def processor_seconds() -> float:
    """Of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
