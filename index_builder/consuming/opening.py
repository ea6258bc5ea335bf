"""How a version is opened: what stays the same when the next one takes its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from catalog.channel import Pointer
from catalog.errors import EncoderMismatchError
from catalog.manifest import Manifest
from index_builder.consuming.cache import Cache


@dataclass(frozen=True)
class Opening:
    """How to open.

    Attributes:
        root: URL of ARTIFACTS/<name>.
        channel: that is followed; None for a version by name.
        parts: numbers of the index files; all of them if None.
        cache: for what is downloaded.
        encoder: fingerprint of the encoder that queries come from; None if nobody said.
        pointer: to the version that was opened; None before.
    """

    root: str
    channel: str | None
    parts: Sequence[int] | None
    cache: Cache
    encoder: str | None
    pointer: Pointer | None = None

    def at(self, pointer: Pointer) -> Opening:
        """With the version that was opened."""
        return replace(self, pointer=pointer)


def check_encoder(manifest: Manifest, fingerprint: str) -> None:
    """Raises EncoderMismatchError where the vectors of a version are not the encoder's with that fingerprint."""
    own = manifest.encoder
    if fingerprint != own.fingerprint:
        raise EncoderMismatchError(
            f"the encoder with fingerprint {fingerprint[:12]} is not the one that version {manifest.version} was made "
            f"with ({own.name}, fingerprint {own.fingerprint[:12]}); vectors of two encoders cannot be compared"
        )
