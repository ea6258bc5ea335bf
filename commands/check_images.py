"""Images that are not in a store yet, as a dedupe check asks about them: read, hashed and encoded."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from catalog import storage
from catalog.encoder_info import IMPORTED, EncoderInfo
from catalog.errors import UsageError
from dedupe.check_queries import COLUMNS
from dedupe.items import SIGNATURES

# Images that wait for the encoder.
_ENCODED_AT_ONCE = 32


@dataclass(frozen=True)
class Unread:
    """An image that was not compared, and why."""

    image: str
    item_id: str | None
    reason: str
    detail: str | None


@dataclass(frozen=True)
class CheckImages:
    """Images that were read.

    Attributes:
        images: their locations, and `item_ids`, None where they have none.
        table: `dedupe.check_queries.COLUMNS`.
        vectors: float32 [n, d].
        unread: those that were not.
    """

    images: list[str]
    item_ids: list[str | None]
    table: pa.Table
    vectors: np.ndarray
    unread: list[Unread]


def read_images(args: argparse.Namespace, wanted: EncoderInfo) -> CheckImages:
    """Reads what `--image` or `--catalog` names. Raises UsageError where the store's encoder cannot be had."""
    from encoders.decode import DecodeLimits
    from encoders.image_loader import ImageLoader, ImageRequest, LoadedImage, LoadFailure
    from encoders.registry import load_encoder

    if wanted.spec == IMPORTED:
        raise UsageError(
            f"the vectors of this store ({wanted.name}) were imported, so no encoder is known that makes such a vector "
            "of an image; embed the new images into a store of their own and compare both with --datasets"
        )
    encoder = load_encoder(args.encoder or wanted.spec)
    if encoder.info.fingerprint != wanted.fingerprint:
        raise UsageError(
            f"{args.encoder or wanted.spec} is not the encoder of the store, {wanted.name}; name that one with "
            "--encoder"
        )
    unread: list[Unread] = []
    asked = list(_asked(args, unread))
    loader = ImageLoader(wanted.input_size, DecodeLimits())
    images: list[str] = []
    item_ids: list[str | None] = []
    loaded: list[dict[str, object]] = []
    pixels: list[np.ndarray] = []
    vectors = [np.empty((0, wanted.dimension), np.float32)]
    answers = loader.load_all(ImageRequest(place) for place, _ in asked)
    for (place, item_id), answer in zip(asked, answers, strict=True):
        shown = storage.redact(place)
        if isinstance(answer, LoadFailure):
            unread.append(Unread(shown, item_id, answer.reason.value, answer.detail))
            continue
        assert isinstance(answer, LoadedImage)
        images.append(shown)
        item_ids.append(item_id)
        loaded.append({name: getattr(answer, name) for name in COLUMNS})
        pixels.append(answer.pixels)
        if len(pixels) == _ENCODED_AT_ONCE:
            vectors.append(encoder.encode(np.stack(pixels)))
            pixels = []
    if pixels:
        vectors.append(encoder.encode(np.stack(pixels)))
    columns = pa.schema([(name, SIGNATURES[name]) for name in COLUMNS])
    table = pa.Table.from_pylist(loaded, schema=columns)
    return CheckImages(images, item_ids, table, np.concatenate(vectors).astype(np.float32), unread)


def _asked(args: argparse.Namespace, unread: list[Unread]) -> Iterator[tuple[str, str | None]]:
    """Locations, and item ids of a catalog's; rows that have no image that may be read go to `unread`."""
    if args.image:
        for place in args.image:
            if not storage.may_hold_images(place):
                raise UsageError(
                    f"--image {storage.redact(place)}: images are read from disks and object stores; for web servers "
                    "use --catalog with --allow-http"
                )
            yield place, None
        return
    from catalog.source import CatalogSource, open_catalog, read_rows

    catalog = open_catalog(
        CatalogSource(
            catalogs=tuple(args.catalog),
            images_root=args.images_root,
            image_template=args.image_template,
            item_id_column=args.item_id_column,
            image_column=args.image_column,
            allow_http=args.allow_http,
        )
    )
    for reader in catalog.readers:
        for block in read_rows(reader):
            names = ("item_id", "image_uri", "origin", "reason", "detail")
            columns = (block.column(name).to_pylist() for name in names)
            for item_id, place, origin, reason, detail in zip(*columns, strict=True):
                if reason is None:
                    yield place, item_id
                else:
                    unread.append(Unread(place or origin, item_id or None, reason, detail))
