"""`embed`: a catalog and its images to an embedding store."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from commands.output import add_json_flag, at_least, print_json, say
from commands.progress import ProgressReport

HELP = "encode the images of a catalog into embedding Parquet files"
EPILOG = "Flags after -- go to Apache Beam. The same command again does only what is missing or has changed."
TAKES_BEAM_ARGUMENTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--catalog",
        nargs="+",
        required=True,
        metavar="FILE",
        help="CSV, TSV (.gz too) or Parquet; paths, URLs or globs",
    )
    parser.add_argument("--output", required=True, metavar="EMBEDDINGS", help="the embedding store to create or update")
    parser.add_argument(
        "--encoder",
        default="color-histogram",
        metavar="SPEC",
        help="color-histogram, savedmodel:PATH, tfhub:HANDLE or keras:NAME[@weights] (default: %(default)s)",
    )
    parser.add_argument(
        "--images-root", metavar="DIR", help="what relative images are below (default: the file's folder)"
    )
    parser.add_argument("--image-template", metavar="T", help="image locations from columns: 'images/{image}.jpg'")
    parser.add_argument("--item-id-column", metavar="C", help="default: item_id, id, ... or else the image column")
    parser.add_argument("--image-column", metavar="C", help="default: image, image_uri, path, ...")
    parser.add_argument("--product-id-column", metavar="C", help="default: product_id, sku, ... if there is one")
    parser.add_argument(
        "--partitions", type=at_least(1), metavar="N", help="of a new store, a power of two (default: by rows)"
    )
    parser.add_argument("--vector-type", choices=["float16", "float32"], help="of a new store (default: float16)")
    parser.add_argument(
        "--max-bytes", type=at_least(1), default=64 << 20, metavar="N", help="per image file (default: 64 MiB)"
    )
    parser.add_argument(
        "--max-pixels", type=at_least(1), default=64_000_000, metavar="N", help="per image (default: 64 million)"
    )
    parser.add_argument(
        "--fail-on-rejects",
        type=at_least(0),
        metavar="N",
        help="exit 1 when more than N rows were rejected, all being written",
    )
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from catalog.source import CatalogSource
    from encoders.decode import DecodeLimits
    from pipelines.embed import EmbedConfig, embed

    source = CatalogSource(
        catalogs=tuple(args.catalog),
        images_root=args.images_root,
        image_template=args.image_template,
        item_id_column=args.item_id_column,
        image_column=args.image_column,
        product_id_column=args.product_id_column,
    )
    config = EmbedConfig(
        source=source,
        output=args.output,
        encoder=args.encoder,
        partitions=args.partitions,
        vector_type=args.vector_type,
        limits=DecodeLimits(args.max_bytes, args.max_pixels),
        beam_arguments=args.beam_arguments,
    )
    report = ProgressReport()
    try:
        summary = embed(config, say, report)
    finally:
        report.close()
    say(
        f"{summary.rows:,} rows: {summary.embedded:,} embedded, {summary.reused:,} reused, "
        f"{summary.rejected:,} rejected, {summary.removed:,} removed; "
        f"snapshot {summary.snapshot} in {summary.seconds:.1f} s ({summary.images_per_second:.0f} images/s)"
    )
    for reason, count in summary.rejects_by_reason.items():
        say(f"  rejected {count:,} as {reason}")
    failed = args.fail_on_rejects is not None and summary.rejected > args.fail_on_rejects
    if failed:
        say(f"catalog-indexer embed: {summary.rejected:,} rows were rejected, --fail-on-rejects {args.fail_on_rejects}")
    if args.json:
        print_json(asdict(summary))
    return 1 if failed else 0
