"""What a night costs on which one image in a hundred changed, against the run that made the store.

`python -m benchmarks.night --json` draws images, embeds a catalog of 20,000 rows that name them, changes 1 % of the
images, embeds again, and compares the seconds spent in the encoder, the images read and the files written; a third run,
after which nothing changed, shows what looking costs.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.report import print_report
from catalog.snapshot import latest_snapshot
from catalog.source import CatalogSource
from demo.catalog_folder import draw_catalog
from pipelines.embed import EmbedConfig, embed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--encoder", default="color-histogram", metavar="SPEC")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        measure(args, Path(scratch))


def measure(args: argparse.Namespace, scratch: Path) -> None:
    """Measures and prints."""
    draw_catalog(scratch / "drawn")
    drawn = sorted(path for path in (scratch / "drawn").rglob("*.jpg") if path.stat().st_size > 500)
    (scratch / "images").mkdir()
    for row in range(args.rows):
        (scratch / "images" / f"{row}.jpg").write_bytes(drawn[row % len(drawn)].read_bytes())
    catalog = scratch / "catalog.csv"
    catalog.write_text("item_id,image\n" + "".join(f"item-{row},images/{row}.jpg\n" for row in range(args.rows)))
    store = scratch / "embeddings"
    runs, files = [], []
    for night in ("first", "one percent changed", "nothing changed"):
        if night == "one percent changed":
            for row in random.Random(0).sample(range(args.rows), args.rows // 100):
                (scratch / "images" / f"{row}.jpg").write_bytes(drawn[(row + 7) % len(drawn)].read_bytes())
        started = time.perf_counter()
        summary = asdict(embed(EmbedConfig(CatalogSource((str(catalog),)), str(store), args.encoder)))
        runs.append({**summary, "wall_seconds": round(time.perf_counter() - started, 2)})
        snapshot = latest_snapshot(str(store))
        assert snapshot is not None
        files.append({entry.path for entry in snapshot.files})
    first, second, third = (run["cost"].get("encode_seconds", 0.0) for run in runs)
    names = ("embedded", "reused", "rejected", "wall_seconds", "cost")
    print_report(
        "night",
        args.json,
        encoder=args.encoder,
        rows=args.rows,
        runs=[{name: run[name] for name in names} for run in runs],
        first_files_still_in_use=len(files[0] & files[2]) / len(files[0]),
        new_files=len(files[1] - files[0]),
        ratios={
            "encode_seconds_one_percent_over_first": round(second / first, 4),
            "wall_seconds_one_percent_over_first": round(runs[1]["wall_seconds"] / runs[0]["wall_seconds"], 4),
            "encode_seconds_unchanged_over_first": round(third / first, 4),
        },
    )


if __name__ == "__main__":
    main()
