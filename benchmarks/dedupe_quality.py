"""What the dedupe job finds among photos with known duplicates, and what each of its tiers adds.

`python -m benchmarks.dedupe_quality --images DIR … --encoder SPEC --json` edits 300 photos in 20 ways, copies each
exactly in three (the same bytes; more metadata; PNG), puts them among all photos of the folders, embeds and dedupes
them, and compares the report with the labels (`benchmarks/judged_pairs.py` says how). `--table` prints the edits as
Markdown. `--sweep` also looks for the bounds with the highest recall at a precision of 0.99 on half of the edited
photos, and says what these and the defaults give on the other half. `--keep DIR` keeps images, embeddings and reports,
and finds them again.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.judged_pairs import Judged, edited_quality, exact_quality, found_by_edit, group_quality, judge
from benchmarks.labelled_photos import COPIES, PHOTO, Labelled, make_labelled, photos_below
from benchmarks.report import print_report
from catalog.source import CatalogSource
from dedupe.edits import EDITS, TURNS
from dedupe.settings import TIERS, Settings
from pipelines.dedupe import DedupeConfig, dedupe
from pipelines.embed import EmbedConfig, embed

LEAST_PRECISION = 0.99
# The loosest bounds that the sweep looks at.
LOOSEST = Settings(threshold=0.6, thumbnail_threshold=0.8, phash_radius=8, phash_256_radius=48)
THRESHOLDS = np.round(np.arange(0.6, 0.901, 0.01), 2)
THUMBNAIL_THRESHOLDS = np.round(np.arange(0.8, 1.001, 0.01), 2)
RADII = ((0, 0), (2, 16), (4, 24), (6, 32), (8, 48))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders of JPEG photos")
    parser.add_argument("--encoder", required=True, metavar="SPEC")
    parser.add_argument("--photos", type=int, help="use so many photos (default: all)")
    parser.add_argument("--edited", type=int, default=300, help="edit so many of them (default: %(default)s)")
    parser.add_argument("--turned", action="store_true", help="mirror and turn them, too, and look for that")
    parser.add_argument("--sweep", action="store_true", help="look for bounds")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    parser.add_argument("--table", action="store_true", help="print the table of edits as Markdown")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        folder = args.keep or Path(scratch) / "set"
        found = measure(args, folder)
    if args.table:
        print(markdown(found["edits"]))
    else:
        print_report("dedupe_quality", args.json, **found)


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Makes the set, embeds and dedupes it, and compares."""
    edits = (*EDITS, *TURNS) if args.turned else tuple(EDITS)
    photos = photos_below(args.images)[: args.photos]
    labelled = read_labelled(folder) or make_labelled(folder, photos, args.edited, edits)
    embed(EmbedConfig(CatalogSource((str(labelled.catalog),)), str(folder / "embeddings"), args.encoder))
    settings = Settings(turned=args.turned)
    summary = report_of(folder, "report", settings)
    judged = judge(folder / "report", labelled, settings)
    found: dict[str, Any] = {
        "images": len(judged.names),
        "photos": int((judged.made == PHOTO).sum()),
        "exact": exact_quality(judged),
        "edited": edited_quality(judged),
        "groups": group_quality(folder / "report", labelled),
        "edits": found_by_edit(judged, edits),
        "dedupe_seconds": summary["seconds"],
    }
    if args.sweep:
        loosest = replace(LOOSEST, turned=args.turned)
        report_of(folder, "loosest", loosest)
        found["sweep"] = sweep(folder / "loosest", labelled, loosest)
    return found


def report_of(folder: Path, name: str, settings: Settings) -> dict[str, Any]:
    """Runs the job, or reads what is there; returns the summary."""
    config = DedupeConfig({"": str(folder / "embeddings")}, str(folder / name), settings, pictures=0)
    return dedupe(config)


def read_labelled(folder: Path) -> Labelled | None:
    """The set that was made there before; None where there is none."""
    catalog = folder / "catalog.csv"
    if not catalog.exists():
        return None
    with catalog.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return Labelled(
        catalog, {row["item_id"]: row["source"] for row in rows}, {row["item_id"]: row["made"] for row in rows}
    )


def sweep(report: Path, labelled: Labelled, loosest: Settings) -> dict[str, Any]:
    """The bounds of the highest recall at `LEAST_PRECISION` on one half of the edited photos, and what they and the
    defaults give on both."""
    names = np.array(sorted(labelled.source))
    sources = np.array([labelled.source[name] for name in names])
    edited = sorted({labelled.source[name] for name, made in labelled.made.items() if made not in (PHOTO, *COPIES)})
    halves = {
        name: ~np.isin(sources, edited) | np.isin(sources, edited[start::2])
        for start, name in enumerate(("chosen_on", "held_out"))
    }
    best: tuple[float, Settings] | None = None
    for radii in RADII:
        bounds = replace(loosest, phash_radius=radii[0], phash_256_radius=radii[1])
        whole = judge(report, labelled, bounds)
        half = whole.of_items(halves["chosen_on"])
        for threshold, thumbnail in itertools.product(THRESHOLDS.tolist(), THUMBNAIL_THRESHOLDS.tolist()):
            found = edited_quality(half.within(threshold, thumbnail))
            if found["precision"] >= LEAST_PRECISION and (best is None or found["recall"] > best[0]):
                best = found["recall"], replace(bounds, threshold=threshold, thumbnail_threshold=thumbnail)
    told = {}
    for name, settings in (("best", best[1] if best else None), ("default", Settings(turned=loosest.turned))):
        if settings is not None:
            whole = judge(report, labelled, settings)
            told[name] = {
                "bounds": {
                    each: getattr(settings, each)
                    for each in ("threshold", "thumbnail_threshold", "phash_radius", "phash_256_radius")
                },
                **{half: _brief(whole.of_items(items)) for half, items in halves.items()},
            }
    return told


def _brief(judged: Judged) -> dict[str, float]:
    found = edited_quality(judged)
    return {name: found[name] for name in ("precision", "recall", "recall_with_the_photo")}


def markdown(edits: dict[str, dict[str, float]]) -> str:
    """A row for each edit, and the mean."""
    shown = TIERS[2:]
    lines = ["| edit | " + " | ".join(f"+ {tier}" for tier in shown) + " |", "|---" * (len(shown) + 1) + "|"]
    means = {tier: float(np.mean([row[tier] for row in edits.values()])) for tier in TIERS}
    for name, row in [*edits.items(), ("all", means)]:
        lines.append(f"| {name} | " + " | ".join(f"{row[tier]:.2f}" for tier in shown) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
