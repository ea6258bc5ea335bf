"""The flag of a night; read without importing Beam."""

from __future__ import annotations

import argparse


def add_nightly_flags(parser: argparse.ArgumentParser) -> None:
    """What to do is in a file; see `pipelines.nightly_config`."""
    parser.add_argument("--config", required=True, metavar="FILE", help="what to do: a YAML file, by path or URL")
