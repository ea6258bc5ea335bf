"""`search`: what looks like this?"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from commands.artifact_flags import add_artifact_flags, add_version_flags
from commands.output import add_json_flag, print_json, print_table
from pipelines.flags import at_least

HELP = "find the items nearest to an item, an image or a vector"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_artifact_flags(parser)
    query = parser.add_mutually_exclusive_group(required=True)
    query.add_argument("--item", metavar="ID", help="an item of the index")
    query.add_argument("--image", metavar="FILE", help="an image, encoded by the index's own encoder")
    query.add_argument("--vector", metavar="F.npy", help="a NumPy file with one vector, [d] or [1, d]")
    parser.add_argument("-k", type=at_least(1), default=10, help="how many (default: %(default)s)")
    parser.add_argument("--encoder", metavar="SPEC", help="where the encoder is now, for --image, if it was moved")
    add_version_flags(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from commands.query import find_matches
    from index_builder.catalog_index import CatalogIndex

    index = CatalogIndex.open(args.artifacts, args.name, args.channel, args.version)
    matches = find_matches(args, index)
    if args.json:
        results = [asdict(match) for match in matches]
        print_json({"version": index.manifest.version, "results": results})
        return 0
    names = list(dict.fromkeys(name for match in matches for name in match.metadata))
    header = ["rank", "score", "item", "product", *names]
    rows = [
        [
            str(match.rank),
            f"{match.score:.4f}",
            match.item_id,
            match.product_id or "-",
            *(_short(match.metadata.get(name)) for name in names),
        ]
        for match in matches
    ]
    print(f"version {index.manifest.version}, {index.manifest.metric}")
    print_table(header, rows)
    return 0


def _short(value: object, most: int = 40) -> str:
    text = "-" if value is None else " ".join(str(value).split())
    return text if len(text) <= most else text[: most - 3] + "..."
