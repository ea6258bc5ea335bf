"""What `search` asks with, and what it finds."""

from __future__ import annotations

import argparse

import numpy as np

from catalog import storage
from catalog.encoder_info import IMPORTED
from catalog.errors import UsageError
from index_builder.catalog_index import CatalogIndex, Match


def find_matches(args: argparse.Namespace, index: CatalogIndex) -> list[Match]:
    """Answers `--item`, `--image` or `--vector`. Raises UsageError."""
    if args.item is not None:
        return index.search_item(args.item, args.k)
    vector = _from_file(args.vector) if args.vector is not None else _from_image(args.image, args.encoder, index)
    return index.search(vector, args.k)


def _from_file(path: str) -> np.ndarray:
    try:
        with storage.open_read(path) as file:
            vector = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise UsageError(f"--vector {path}: there is no such file") from None
    except (ValueError, OSError, EOFError):
        vector = None
    if not isinstance(vector, np.ndarray):
        raise UsageError(f"--vector {path} is not a NumPy .npy file of numbers") from None
    if vector.ndim == 2 and len(vector) == 1:
        vector = vector[0]
    if vector.ndim != 1 or vector.dtype.kind not in "fiu":
        raise UsageError(f"--vector {path} holds {vector.dtype} {list(vector.shape)}; expected numbers of shape [d]")
    with np.errstate(over="ignore"):  # What float32 cannot hold becomes infinite, and is refused as such.
        return vector.astype(np.float32)


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
    if encoder.info.fingerprint != wanted.fingerprint:
        raise UsageError(
            f"the encoder {spec or wanted.spec} (fingerprint {encoder.info.fingerprint[:12]}) is not the one that the "
            f"index was made with ({wanted.name}, fingerprint {wanted.fingerprint[:12]}); name that one with --encoder"
        )
    try:
        image = ImageLoader(wanted.input_size, DecodeLimits()).load_bytes(storage.read_bytes(path))
    except OSError:
        raise UsageError(f"--image {storage.redact(path)}: there is no such file, or it cannot be read") from None
    except DecodeError as error:
        raise UsageError(f"--image {storage.redact(path)}: {error.reason}: {error.detail}") from None
    return encoder.encode(image.pixels[None])[0]
