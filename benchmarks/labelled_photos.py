"""Photos with known duplicates: each of some photos edited and copied, and other photos beside them.

The label of an image is the photo that it was made of. Nobody has looked at the photos as they were taken, so two of
them may well be the same shot: `catalog.csv` says which images are untouched.
"""

from __future__ import annotations

import csv
import hashlib
import io
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dedupe.edits import edit

PHOTO = "photo"
#: Copies whose bytes or pixels are those of the photo.
COPIES = ("bytes", "exif", "png")
_COLUMNS = ("item_id", "image", "source", "made")


@dataclass(frozen=True)
class Labelled:
    """Images of a labelled set.

    Attributes:
        catalog: a CSV file with item_id, image, source (the photo that it was made of), made (`photo`, the name of an
            edit, or one of `COPIES`).
        source, made: those columns by item id.
    """

    catalog: Path
    source: dict[str, str]
    made: dict[str, str]


def photos_below(folders: Sequence[Path]) -> list[Path]:
    """The photos below some folders, in an order that the hashes of their paths decide: the first are a sample."""
    found = [path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")]
    return sorted(found, key=lambda path: hashlib.sha256(path.name.encode() + path.parent.name.encode()).digest())


def make_labelled(
    folder: Path, photos: Sequence[Path], edited: int, edits: Sequence[str], copies: Sequence[str] = COPIES
) -> Labelled:
    """Writes a catalog of `photos`, and edits and copies of the first `edited` of them, below `folder`."""
    (folder / "images").mkdir(parents=True)

    def one(number: int) -> list[tuple[str, str, str, str]]:
        source = f"photo-{number:05d}"
        rows = [(source, str(photos[number].resolve()), source, PHOTO)]
        for made, name, data in _versions(photos[number], edits, copies) if number < edited else ():
            path = folder / "images" / f"{source}-{name}"
            path.write_bytes(data)
            rows.append((f"{source}-{made}", str(path.resolve()), source, made))
        return rows

    with ThreadPoolExecutor() as pool:
        rows = [row for rows in pool.map(one, range(len(photos))) for row in rows]
    catalog = folder / "catalog.csv"
    with catalog.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([_COLUMNS, *rows])
    return Labelled(catalog, {row[0]: row[2] for row in rows}, {row[0]: row[3] for row in rows})


def _versions(photo: Path, edits: Sequence[str], copies: Sequence[str]) -> Iterator[tuple[str, str, bytes]]:
    """What is made of a photo: what it is, a file name and its bytes."""
    data = photo.read_bytes()
    with Image.open(photo) as image:
        profile = image.info.get("icc_profile")
        image.load()
        upright = image.convert("RGB")
    for name in edits:
        yield name, f"{name}.jpg", edit(upright, name)
    made = {"bytes": ("copy.jpg", data), "exif": ("exif.jpg", _with_exif(data)), "png": ("png.png", b"")}
    for name in copies:
        file_name, content = made[name]
        if name == "png":
            sink = io.BytesIO()
            image.save(sink, "PNG", icc_profile=profile, exif=image.getexif())
            content = sink.getvalue()
        yield name, file_name, content


def _with_exif(data: bytes) -> bytes:
    """A JPEG file with one more block of metadata in front of the others: an artist. Its pixels are the same."""
    artist = b"somebody else\0"
    directory = struct.pack(">HHHIII", 1, 0x013B, 2, len(artist), 8 + 2 + 12 + 4, 0)
    body = b"Exif\0\0MM\0\x2a" + struct.pack(">I", 8) + directory + artist
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
