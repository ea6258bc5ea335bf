"""Names of places: local paths and URLs, joined, split and made safe to print. Opens nothing."""

from __future__ import annotations

import os
import re

_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")


def is_url(place: str) -> bool:
    """Whether `place` has a scheme (`gs://…`, `file://…`); a local path has none."""
    return _URL.match(place) is not None


def scheme_of(place: str) -> str:
    """The lower-case scheme; `file` for a local path, `gs` for Google Cloud Storage under any of its names."""
    match = _URL.match(place)
    scheme = match.group(1).lower() if match else "file"
    return {"local": "file", "gcs": "gs"}.get(scheme, scheme)


def local_path(place: str) -> str:
    """The local path in a path or a `file://` URL."""
    return _URL.sub("", place)


def absolute(place: str) -> str:
    """The place independent of the working directory: local paths made absolute, URLs as they are."""
    if scheme_of(place) != "file":
        return f"{scheme_of(place)}://{place.split('://', 1)[1]}".rstrip("/")
    return os.path.abspath(os.path.expanduser(local_path(place)))


def join(base: str, *parts: str) -> str:
    """`base` and `parts` with one slash between each."""
    return "/".join([base.rstrip("/"), *(part.strip("/") for part in parts)])


def name_of(place: str) -> str:
    """The last part: the file name."""
    return place.rstrip("/").rsplit("/", 1)[-1]


def parent_of(place: str) -> str:
    """The folder that the place is in."""
    if scheme_of(place) == "file":
        return os.path.dirname(absolute(place))
    return place.rstrip("/").rsplit("/", 1)[0]


def redact(place: str) -> str:
    """The place without what could be a secret: user, password, query and fragment of a URL."""
    if not is_url(place):
        return place
    scheme, rest = place.split("://", 1)
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
