"""The flags of the jobs and the configurations that they make; read without importing Beam."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from catalog.encoder_info import ENGINES, PRECISIONS, VECTOR_TYPES
from pipelines.engine_presets import ENGINES as RUNNING_ENGINES
from pipelines.flag_types import at_least, label, positive, share, size
from pipelines.gate_flags import add_gate_flags, asked_of, forced_of

if TYPE_CHECKING:
    from pipelines.embed import EmbedConfig
    from pipelines.index import IndexConfig


def add_embed_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the embed job."""
    parser.add_argument(
        "--catalog",
        nargs="+",
        required=True,
        metavar="FILE",
        help="CSV, TSV, JSON Lines (.gz too) or Parquet; paths, URLs or globs",
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
    parser.add_argument("--allow-http", action="store_true", help="read images from web servers too: http, https")
    parser.add_argument(
        "--allow-root",
        action="append",
        default=[],
        metavar="ROOT",
        help="read images below this folder or URL only; may be given several times",
    )
    parser.add_argument("--image-template", metavar="T", help="image locations from columns: 'images/{image}.jpg'")
    parser.add_argument("--item-id-column", metavar="C", help="default: item_id, id, ... or else the image column")
    parser.add_argument("--image-column", metavar="C", help="default: image, image_uri, path, ...")
    parser.add_argument("--product-id-column", metavar="C", help="default: product_id, sku, ... if there is one")
    parser.add_argument(
        "--partitions", type=at_least(1), metavar="N", help="of a new store, a power of two (default: by rows)"
    )
    parser.add_argument("--vector-type", choices=VECTOR_TYPES, help="of a new store (default: float16)")
    parser.add_argument(
        "--max-bytes", type=at_least(1), default=64 << 20, metavar="N", help="per image file (default: 64 MiB)"
    )
    parser.add_argument(
        "--max-pixels", type=at_least(1), default=64_000_000, metavar="N", help="per image (default: 64 million)"
    )
    parser.add_argument(
        "--max-frames",
        type=at_least(1),
        default=10_000,
        metavar="N",
        help="frames or pages of an image (default: 10,000)",
    )

    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the encoder (default: float32)")
    parser.add_argument(
        "--inference-engine", choices=ENGINES, default="auto", help="what runs SavedModels (default: auto)"
    )
    parser.add_argument(
        "--changes",
        choices=["store", "column", "content"],
        default="store",
        help="what tells that an image changed: the store's version of it, a column, or its bytes (default: store)",
    )
    parser.add_argument(
        "--source-version-column", metavar="C", help="the column for --changes column (default: source_version)"
    )
    parser.add_argument(
        "--compact-at",
        type=share,
        default=0.25,
        metavar="SHARE",
        help="fold a partition's deltas when they pass this share of its rows (default: 0.25)",
    )
    add_may_lose_flag(parser)
    parser.add_argument(
        "--threads", type=at_least(1), metavar="N", help="that decode and encode in a process (default: two a core)"
    )
    parser.add_argument(
        "--accelerator",
        metavar="HINT",
        help="Beam hint of the encode step: 'type:nvidia-l4;count:1;install-nvidia-driver'",
    )
    parser.add_argument("--worker-memory", metavar="SIZE", help="Beam hint of the encode step, such as 16GB")


def add_engine_flag(parser: argparse.ArgumentParser) -> None:
    """The flag of everything that takes flags of Beam."""
    parser.add_argument(
        "--engine",
        choices=RUNNING_ENGINES,
        help="what runs the job; fills in the flags of Beam that it needs (default: local, or what --runner is of)",
    )


def add_may_lose_flag(parser: argparse.ArgumentParser) -> None:
    """The flag of everything that makes a snapshot."""
    parser.add_argument(
        "--may-lose",
        type=share,
        default=0.5,
        metavar="SHARE",
        help="refuse to publish when more than this share of the stored items would go (default: 0.5)",
    )


def embed_config(args: argparse.Namespace, beam_arguments: Sequence[str], runs_on: str | None = None) -> EmbedConfig:
    """The embed job that the flags ask for."""
    from catalog.errors import UsageError
    from catalog.partition_rows import Changes
    from catalog.source import CatalogSource
    from encoders.decode import DecodeLimits
    from pipelines.embed import EmbedConfig

    if args.source_version_column and args.changes != "column":
        raise UsageError("--source-version-column is for --changes column")
    source = CatalogSource(
        catalogs=tuple(args.catalog),
        images_root=args.images_root,
        image_template=args.image_template,
        item_id_column=args.item_id_column,
        image_column=args.image_column,
        product_id_column=args.product_id_column,
        source_version_column=(args.source_version_column or "source_version") if args.changes == "column" else None,
        allow_http=args.allow_http,
        image_roots=tuple(args.allow_root),
    )
    hints = {"accelerator": args.accelerator, "min_ram": args.worker_memory}
    return EmbedConfig(
        source=source,
        output=args.output,
        encoder=args.encoder,
        precision=args.precision,
        engine=args.inference_engine,
        partitions=args.partitions,
        vector_type=args.vector_type,
        limits=DecodeLimits(args.max_bytes, args.max_pixels, args.max_frames),
        changes=Changes(args.changes),
        compact_at=args.compact_at,
        may_lose=args.may_lose,
        threads=args.threads,
        hints={name: text for name, text in hints.items() if text},
        runs_on=runs_on,
        beam_arguments=tuple(beam_arguments),
    )


def add_index_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the index job."""
    parser.add_argument("--embeddings", required=True, metavar="EMBEDDINGS", help="the embedding store to index")
    parser.add_argument("--artifacts", required=True, metavar="ARTIFACTS", help="the artifact store to publish to")
    parser.add_argument("--name", required=True, help="name of the index in the artifact store")
    parser.add_argument("--snapshot", type=int, metavar="N", help="default: the newest")
    add_plan_flags(parser)
    parser.add_argument(
        "--stratify", metavar="COLUMN", help="metadata column whose values all get their share of the training sample"
    )
    parser.add_argument(
        "--queries",
        type=at_least(1),
        default=1_000,
        metavar="N",
        help="items that the evaluation asks (default: 1000)",
    )
    parser.add_argument("--retrain", action="store_true", help="train anew even where the earlier codebook still fits")
    parser.add_argument(
        "--build-memory",
        type=size,
        default=1 << 30,
        metavar="SIZE",
        help="what merging and assembly may hold in a process (default: 1GiB)",
    )
    parser.add_argument(
        "--worker-memory", metavar="SIZE", help="Beam hint of the steps that train, merge, assemble and evaluate"
    )
    parser.add_argument("--channel", default="prod", help="channel to point to the new version (default: %(default)s)")
    parser.add_argument(
        "--label",
        type=label,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="to write into the manifest; may be given several times",
    )
    parser.add_argument(
        "--pin", action="append", default=[], metavar="REASON", help="keep the version until it is unpinned"
    )
    add_gate_flags(parser)


def add_plan_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that decide which index is built."""
    parser.add_argument("--metric", help="cosine, dot, l2 or l1 (default: what the encoder is meant for)")
    parser.add_argument(
        "--rerank",
        choices=["auto", "stored", "none"],
        default="auto",
        help="keep the vectors in the version and order results by them (default: auto, up to 4 GiB)",
    )
    parser.add_argument(
        "--memory-budget", type=size, metavar="SIZE", help="what serving may hold in memory, such as 500MB or 2GiB"
    )
    parser.add_argument(
        "--bytes-per-vector", type=positive, metavar="B", help="of the index file, row numbers included"
    )
    parser.add_argument("--recall-target", type=share, metavar="R", help="recall@10 to serve at, from 0 to 1")
    parser.add_argument("--latency-target", type=positive, metavar="MS", help="p99 of one search, in milliseconds")
    parser.add_argument(
        "--parts", type=at_least(1), default=1, metavar="N", help="index files to share the lists between (default: 1)"
    )
    parser.add_argument(
        "--factory", metavar="TEXT", help="a FAISS factory string to take as it is: IVF4096,PQ64x4fs,RFlat"
    )


def index_config(args: argparse.Namespace, beam_arguments: Sequence[str], runs_on: str | None = None) -> IndexConfig:
    """The index job that the flags ask for."""
    from index_builder.publishing.verdict import Thresholds
    from pipelines.index import IndexConfig

    return IndexConfig(
        embeddings=args.embeddings,
        artifacts=args.artifacts,
        name=args.name,
        metric=args.metric,
        snapshot=args.snapshot,
        rerank=args.rerank,
        channel=args.channel,
        thresholds=Thresholds(**asked_of(args)),
        forced=forced_of(args),
        labels=dict(args.label),
        pins=tuple(args.pin),
        parts=args.parts,
        stratify=args.stratify,
        queries=args.queries,
        retrain=args.retrain,
        memory=args.build_memory,
        memory_budget=args.memory_budget,
        bytes_per_vector=args.bytes_per_vector,
        recall_target=args.recall_target,
        latency_target=args.latency_target,
        factory=args.factory,
        runs_on=runs_on,
        hints={"min_ram": args.worker_memory} if args.worker_memory else {},
        beam_arguments=tuple(beam_arguments),
    )
