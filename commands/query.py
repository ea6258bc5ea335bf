"""What `search` asks with, and what it finds."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from catalog import storage
from catalog.encoder_info import IMPORTED
from catalog.errors import EncoderMismatchError, UsageError
from index_builder.catalog_index import CatalogIndex, Match, OperatingPoint
from index_builder.consuming.opening import check_encoder


@dataclass(frozen=True)
class Answers:
    """The matches of each query; `many` where the question was a list of vectors, be it of one."""

    queries: list[list[Match]]
    many: bool


def answer(args: argparse.Namespace, index: CatalogIndex) -> Answers:
    """Answers `--item`, `--image` or `--vector`. Raises UsageError."""
    options: dict[str, Any] = {
        "point": _point(args, index),
        "allow": _ids("--allow-ids", args.allow_ids),
        "block": _ids("--block-ids", args.block_ids),
        "where": _where(args.where or []),
    }
    if args.item is not None:
        return Answers([index.search_item(args.item, args.k, **options)], many=False)
    vectors = _from_file(args.vector) if args.vector is not None else _from_image(args.image, args.encoder, index)
    if vectors.ndim == 2:
        return Answers(index.search(vectors, args.k, **options), many=True)
    return Answers([index.search(vectors, args.k, **options)], many=False)


def _point(args: argparse.Namespace, index: CatalogIndex) -> OperatingPoint | None:
    if args.recall_target is not None:
        return index.point_for(args.recall_target)
    return None if args.nprobe is None else replace(index.default, nprobe=args.nprobe, ef_search=0)


def _ids(flag: str, path: str | None) -> list[str] | None:
    """The item ids in a file, one a line; None where there is no file."""
    if path is None:
        return None
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{flag} {storage.redact(path)}: there is no such file") from None
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{flag} {storage.redact(path)} is not a file of UTF-8 text, one item id a line") from None
    return [line.removesuffix("\r") for line in text.split("\n") if line.removesuffix("\r")]


def _where(conditions: list[str]) -> dict[str, list[str]]:
    """Columns and the values wanted of them: of two conditions on one column, either holds."""
    where: dict[str, list[str]] = {}
    for condition in conditions:
        column, equals, value = condition.partition("=")
        if not equals or not column:
            raise UsageError(f"--where {condition}: expected COLUMN=VALUE")
        where.setdefault(column, []).append(value)
    return where


def _from_file(path: str) -> np.ndarray:
    try:
        with storage.open_read(path) as file:
            vectors = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise UsageError(f"--vector {path}: there is no such file") from None
    except (ValueError, OSError, EOFError):
        vectors = None
    if not isinstance(vectors, np.ndarray):
        raise UsageError(f"--vector {path} is not a NumPy .npy file of numbers") from None
    if vectors.ndim not in (1, 2) or vectors.dtype.kind not in "fiu":
        shape = f"{vectors.dtype} {list(vectors.shape)}"
        raise UsageError(f"--vector {path} holds {shape}; expected numbers of shape [d] or [n, d]")
    with np.errstate(over="ignore"):  # What float32 cannot hold becomes infinite, and is refused as such.
        return vectors.astype(np.float32)


def _from_image(path: str, spec: str | None, index: CatalogIndex) -> np.ndarray:
    from encoders.decode import DecodeError, DecodeLimits
    from encoders.image_loader import ImageLoader
    from encoders.registry import load_encoder

    if not storage.may_hold_images(path):
        raise UsageError(f"--image {storage.redact(path)}: images are read from disks and object stores only")
    wanted = index.manifest.encoder
    if wanted.spec == IMPORTED:
        raise UsageError(
            f"--image: the vectors of this index ({wanted.name}) were imported, so no encoder is known that makes such "
            "a vector of a picture; ask with --item or --vector"
        )
    encoder = load_encoder(spec or wanted.spec)
    try:
        check_encoder(index.manifest, encoder.info.fingerprint)
    except EncoderMismatchError as error:
        raise UsageError(f"{spec or wanted.spec}: {error}; name that one with --encoder") from None
    try:
        image = ImageLoader(wanted.input_size, DecodeLimits()).load_bytes(storage.read_bytes(path))
    except OSError:
        raise UsageError(f"--image {storage.redact(path)}: there is no such file, or it cannot be read") from None
    except DecodeError as error:
        raise UsageError(f"--image {storage.redact(path)}: {error.reason}: {error.detail}") from None
    return encoder.encode(image.pixels[None])[0]
