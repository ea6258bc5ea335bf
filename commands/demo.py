"""`demo`: draws a small catalog and runs everything on it, without a network or weights."""

from __future__ import annotations

import argparse
import sys

from commands.output import add_json_flag, print_json, say

HELP = "draw a small catalog, run the whole path on it and show what was found"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", default="demo-output", metavar="DIR", help="default: %(default)s")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    import time
    from dataclasses import asdict
    from pathlib import Path

    from catalog.scan import scan
    from catalog.source import CatalogSource
    from demo.catalog_folder import draw_catalog
    from demo.contact_sheet import draw_contact_sheet
    from demo.story import NEIGHBOURS, QUERIES, neighbour_tile, next_steps, query_tile
    from index_builder.catalog_index import CatalogIndex
    from index_builder.publishing.verify import find_version, verify
    from pipelines.dedupe import DedupeConfig, dedupe
    from pipelines.embed import EmbedConfig, embed
    from pipelines.index import IndexConfig, index

    started = time.monotonic()
    output = Path(args.output)
    pictures, catalog = output / "pictures", output / "catalog.csv"
    embeddings, artifacts = str(output / "embeddings"), str(output / "artifacts")
    say(f"1. draw    {draw_catalog(pictures)} files, two of them broken -> {pictures}")
    say(f"2. scan    {scan(str(pictures), str(catalog)).items} images -> {catalog}")
    embedded = embed(EmbedConfig(CatalogSource((str(catalog),)), embeddings, "color-histogram"))
    reasons = ", ".join(f"{count} {reason}" for reason, count in embedded.rejects_by_reason.items())
    say(
        f"3. embed   {embedded.embedded} embedded, {embedded.reused} reused, {embedded.rejected} rejected ({reasons}) "
        f"-> {embeddings}, snapshot {embedded.snapshot}"
    )
    built = index(IndexConfig(embeddings, artifacts, "demo"), lambda line: say(f"4. index   {line}"))
    say(f"           version {built.version}, recall@10 {built.recall['10']:.3f}, on channel {built.channel}")
    opened = CatalogIndex.open(artifacts, "demo")
    rows = []
    for item_id in QUERIES:
        found = opened.search_item(item_id, NEIGHBOURS + 1)[1:]
        say(f"5. search  {item_id}: " + ", ".join(f"{m.item_id} {m.score:.3f}" for m in found[:3]))
        rows.append((query_tile(pictures, item_id), [neighbour_tile(pictures, m.item_id, m.score) for m in found]))
    root = f"{output.resolve()}/artifacts/demo"
    manifest = verify(root, find_version(root))
    say(f"6. verify  {len(manifest.files) + 1} files of version {manifest.version} are what was published")
    report = str(output / f"duplicates-{embedded.snapshot}")
    duplicates = dedupe(DedupeConfig({"": embeddings}, report))
    say(
        f"7. dedupe  {duplicates['dropped']} of {duplicates['items']} are duplicates of {duplicates['groups']} others, "
        f"{duplicates['pairs']} pairs -> {report}/index.html"
    )
    sheet = output / "neighbours.png"
    draw_contact_sheet(rows, sheet, f"What looks like this?  color-histogram, {built.index}, {built.vectors} items")
    seconds = time.monotonic() - started
    say(f"\nDone in {seconds:.0f} s. Look at {sheet}: the queries and their nearest neighbours.")
    say(next_steps(sys.argv[0], args.output))
    if args.json:
        print_json(
            {
                "embed": asdict(embedded),
                "index": asdict(built),
                "dedupe": duplicates,
                "picture": str(sheet),
                "seconds": round(seconds, 1),
            }
        )
    return 0
