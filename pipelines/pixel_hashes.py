"""Images, decoded again as a whole, to hashes of their pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from catalog import storage
from dedupe.verified_pixels import in_pieces
from encoders.decode import DecodeError, DecodeLimits, decode
from encoders.image_loader import cores
from encoders.picture_signature import pixel_hash

_AT_ONCE = 256


def hash_all(uris: Iterable[str]) -> Iterator[bytes | None]:
    """The hash of each image in full size, in order; None for one that cannot be read or decoded any more."""
    with ThreadPoolExecutor(2 * cores()) as pool:
        for piece in in_pieces(uris, _AT_ONCE):
            yield from pool.map(_hash, piece)


def _hash(uri: str) -> bytes | None:
    try:
        return pixel_hash(decode(storage.read_bytes(uri), DecodeLimits()))
    except (OSError, DecodeError):
        return None
