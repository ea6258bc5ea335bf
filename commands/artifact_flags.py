"""The flags that name a published version, the same for every command that reads one."""

from __future__ import annotations

import argparse


def add_artifact_flags(parser: argparse.ArgumentParser) -> None:
    """Gives a command `--artifacts` and `--name`."""
    parser.add_argument("--artifacts", required=True, metavar="ARTIFACTS", help="the artifact store")
    parser.add_argument("--name", required=True, help="name of the index in it")


def add_version_flags(parser: argparse.ArgumentParser) -> None:
    """Gives a command `--channel` and `--version`."""
    parser.add_argument("--channel", default="prod", help="the channel to follow (default: %(default)s)")
    parser.add_argument("--version", help="a version instead of what a channel points to")
