"""Texts that may be secret, kept for a while where others can read: sealed with a key that is stored nowhere.

The key stream is SHAKE-256 of the key and of a keyed hash of the text, which also proves what is opened: equal texts of
one place are sealed alike, different ones share nothing.
"""

from __future__ import annotations

import hashlib
import secrets

import numpy as np

_CHECK_BYTES = 16
_KEY_BYTES = 32


def new_key() -> bytes:
    """A random key."""
    return secrets.token_bytes(_KEY_BYTES)


def seal(text: str, place: str, key: bytes) -> bytes:
    """`text`, to be opened with the same key and `place`."""
    data = text.encode()
    check = _check(data, place, key)
    return check + _mixed(data, check, key)


def unseal(sealed: bytes, place: str, key: bytes) -> str:
    """What was sealed. Raises ValueError where it was not sealed with this key for this place."""
    check = sealed[:_CHECK_BYTES]
    data = _mixed(sealed[_CHECK_BYTES:], check, key)
    if not secrets.compare_digest(check, _check(data, place, key)):
        raise ValueError("it was sealed with another key, or for another place")
    return data.decode()


def _check(data: bytes, place: str, key: bytes) -> bytes:
    named = place.encode()
    return hashlib.blake2b(len(named).to_bytes(8, "big") + named + data, key=key, digest_size=_CHECK_BYTES).digest()


def _mixed(data: bytes, check: bytes, key: bytes) -> bytes:
    stream = hashlib.shake_256(key + check).digest(len(data))
    return (np.frombuffer(data, np.uint8) ^ np.frombuffer(stream, np.uint8)).tobytes()
