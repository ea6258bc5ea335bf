"""How commands speak: progress to stderr, results to stdout, and with `--json` one object as the last line."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, TextIO

from catalog.errors import UsageError
from catalog.storage import redact_text


class SecretsLeftOut(logging.Formatter):
    """Log lines, tracebacks included, without the secrets of the URLs in them."""

    def format(self, record: logging.LogRecord) -> str:
        return redact_text(super().format(record))


class EnginesLeftOut(logging.Filter):
    """Nothing of what an engine logs of an error: it is answered with one sentence. But what Dataflow says of a job is
    nowhere else on this machine: its errors, and where its page is."""

    def filter(self, record: logging.LogRecord) -> bool:
        if "/apache_beam/runners/dataflow/" in record.pathname:
            return record.levelno >= logging.WARNING
        return not (record.name.startswith(("PrismRunner", "SdkWorker")) or "/apache_beam/runners/" in record.pathname)


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    """Gives a command `--json`."""
    parser.add_argument("--json", action="store_true", help="print one machine-readable object as the last line")


def say(line: str) -> None:
    """One line of progress."""
    print(redact_text(line), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """The machine-readable summary, on one line."""
    print(json.dumps(_plain(value), ensure_ascii=False, default=str, allow_nan=False), flush=True)


def _plain(value: Any) -> Any:
    """The value without NaN and infinity, which JSON has not: they become null."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Rows in columns as wide as they need, numbers to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    for row in [header, *rows]:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        print("  ".join(cells).rstrip())


@contextlib.contextmanager
def written_whole(path: str) -> Iterator[TextIO]:
    """A text file that takes its name when all of it is written; until then, and on any error, what was there stays.
    What is no file, such as a pipe, is written to as it is."""
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "w", newline="", encoding="utf-8") as file:
            yield file
        return
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    try:
        handle, beside = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
    except FileNotFoundError:
        raise UsageError(f"{path} cannot be written: there is no folder {folder}") from None
    try:
        with open(handle, "w", newline="", encoding="utf-8") as file:
            yield file
        os.chmod(beside, 0o644)
        os.replace(beside, target)
    except BaseException:
        os.unlink(beside)
        raise


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "", 1).replace("-", "", 1).replace("%", "").isdigit()
