"""A folder of category folders as a catalog CSV."""

from __future__ import annotations

import csv
import io
import os
import posixpath
from dataclasses import dataclass

from catalog import storage
from catalog.errors import UsageError

IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".avif", ".heic", ".heif"),
    *(".tif", ".tiff", ".bmp", ".dib", ".ico", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".jpx"),
)


@dataclass(frozen=True)
class ScanSummary:
    """What a scan found."""

    items: int
    categories: int


def scan(folder: str, output: str) -> ScanSummary:
    """Writes a CSV with item_id, image and category for each picture below `folder`.

    The item id is the path below `folder`, the category its folder (`Fruit/Apple`; empty at the top). Pictures are told
    by the ending of their name; whether they are what it says, `embed` finds out. The image is written relative to
    `folder` if the CSV lies there, absolute otherwise, so that `embed --catalog` needs no `--images-root` either way.

    Raises:
        UsageError: no such folder, or no pictures in it.
    """
    root = storage.absolute(folder)
    if storage.exists(root) or (storage.scheme_of(root) == "file" and not os.path.isdir(root)):
        raise UsageError(f"{folder} is no folder; expected one with pictures in it")
    relative = storage.parent_of(storage.absolute(output)) == root
    found = [url.removeprefix(root).lstrip("/") for url in storage.list_files(root)]
    names = sorted(name for name in found if name.lower().endswith(IMAGE_ENDINGS))
    if not names:
        raise UsageError(f"{folder} has no pictures below it; expected a folder with .jpg, .png, ... files")
    if unreadable := [name for name in names if not name.isprintable()]:
        raise UsageError(f"{folder}: the file name {unreadable[0]!r} is not printable UTF-8; rename it")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["item_id", "image", "category"])
    for name in names:
        writer.writerow([name, name if relative else storage.join(root, name), posixpath.dirname(name)])
    storage.write(output, text.getvalue().encode())
    return ScanSummary(len(names), len({posixpath.dirname(name) for name in names}))
