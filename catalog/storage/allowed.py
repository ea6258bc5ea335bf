"""What a catalog may make us read: schemes and roots. Decided by the text of a location alone; opens nothing.

A location comes from a catalog row, a root from the command line. Links and redirects inside a root are followed: who
can make them there can also put files there.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from catalog.storage.locations import STORAGE_SCHEMES, absolute, is_web, scheme_of

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MOST_DECODINGS = 5


@dataclass(frozen=True)
class ImagePolicy:
    """Where the images of a catalog may be.

    Attributes:
        allow_http: whether images are read from web servers too.
        roots: absolute folders or URLs; when there are any, an image must be one of them or below one.
    """

    allow_http: bool = False
    roots: tuple[str, ...] = ()

    def refusal(self, place: str) -> str | None:
        """Why the image may not be read, by the name of its reject reason: `scheme_not_allowed` or `outside_root`."""
        if not (self.allow_http if is_web(place) else scheme_of(place) in STORAGE_SCHEMES):
            return "scheme_not_allowed"
        if self.roots and not any(is_below(root, place) for root in self.roots):
            return "outside_root"
        return None


def is_below(root: str, place: str) -> bool:
    """Whether `place` is `root` or below it, by whole names: `gs://shop/img-2/x` is not below `gs://shop/img`.

    A URL with `..` in its path, also an encoded one, is below no root: servers differ in what they make of it.
    """
    above, parts = _root_parts(root), _parts(place)
    return above is not None and parts is not None and parts[: len(above)] == above and not _climbs(place, parts)


@functools.lru_cache(maxsize=256)
def _root_parts(root: str) -> tuple[str, ...] | None:
    parts = _parts(root)
    return None if parts is None or _climbs(root, parts) else parts


def _parts(place: str) -> tuple[str, ...] | None:
    """Scheme, server or bucket, and the names of the path; None where it is no valid URL.

    Scheme and host count in any case, as does a percent-encoded letter of a web address; the rest counts as it is.
    """
    scheme = scheme_of(place)
    if scheme == "file":
        path, server = absolute(place), ""  # Which resolves `..` as the store does.
    elif is_web(place):
        try:
            split = urlsplit(place)
            server = f"{split.hostname or ''}:{split.port or _DEFAULT_PORTS[scheme]}"
        except ValueError:
            return None
        path = split.path.removeprefix("/")
    else:
        server, _, path = place.split("://", 1)[1].partition("/")
    names = (path.strip("/") if scheme == "file" else path.rstrip("/")).split("/")
    if is_web(place):
        names = [unquote(name) for name in names]
    return (scheme, server) if names == [""] else (scheme, server, *names)


def _climbs(place: str, parts: tuple[str, ...]) -> bool:
    """Whether any name of a URL's path is `.` or `..` to some server: decoded, split at backslashes, less `;…`."""
    if scheme_of(place) == "file":
        return False
    for name in parts[2:]:
        for _ in range(_MOST_DECODINGS):
            if any(piece.partition(";")[0].strip() in (".", "..") for piece in re.split(r"[/\\]", name)):
                return True
            name, before = unquote(name), name
            if name == before:
                break
        else:
            return True  # Encoded more often than anything honest is.
    return False
