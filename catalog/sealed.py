"""Texts that may be secret, kept for a while where others can read: sealed with a key that is kept elsewhere.

AES-SIV (RFC 5297) is deterministic: equal texts of one place are sealed alike, so that the same rows are the same bytes
in every try of a run.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

_KEY_BITS = 256


def new_key() -> bytes:
    """A random key."""
    return AESSIV.generate_key(_KEY_BITS)


def seal(text: str, place: str, key: bytes) -> bytes:
    """`text`, to be opened with the same key and `place`."""
    return AESSIV(key).encrypt(text.encode(), [place.encode()])


def unseal(sealed: bytes, place: str, key: bytes) -> str:
    """What was sealed. Raises ValueError where it was not sealed with this key for this place."""
    try:
        return AESSIV(key).decrypt(sealed, [place.encode()]).decode()
    except InvalidTag:
        raise ValueError("it was sealed with another key, or for another place") from None
