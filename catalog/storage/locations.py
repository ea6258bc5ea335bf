"""Names of places: local paths and URLs, joined, split and made safe to print. Opens nothing."""

from __future__ import annotations

import os
import re

_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
_URL_IN_TEXT = re.compile(r"(?<![A-Za-z0-9+.-])([A-Za-z0-9+.-]+)://([^\s/?#]*(?:/[^\s?#'\"<>]*)?(?:[?#]\S*)?)")
_USER_IN_PATH = re.compile(r"://[^\s/]*@")  # of a URL inside a URL
# What is left of a URL that has a quote in it.
_QUERY_BEHIND_URL = re.compile(r"(://\S*?)[?#][\w.~%\[\]-]+=\S*")
# Of a URL without its server, by the name of a field: `?size=224` is no secret.
_SIGNED_QUERY_IN_TEXT = re.compile(
    r"(?i)[?#](?=\S*(?:sig|signature|token|key|secret|password|credentials?|x-(?:amz|goog)-[\w-]+)=)[\w.~%\[\]-]+=\S*"
)

# Disks and object stores. In the names that they give, `?` and `#` are letters, unless what follows reads like the
# fields of a query.
STORAGE_SCHEMES = frozenset(("file", "gs", "s3", "s3a", "az", "abfs", "abfss", "adl", "hdfs", "oss", "memory"))
_ALIASES = {"local": "file", "gcs": "gs"}
_QUERY = re.compile(r"[?#]")
_QUERY_AFTER_NAME = re.compile(r"[?#][\w.~%\[\]-]+=")
# abfs://container@account/name: no user.
_CONTAINERS = frozenset(("az", "abfs", "abfss"))


def is_url(place: str) -> bool:
    """Whether `place` has a scheme (`gs://…`, `file://…`); a local path has none."""
    return _URL.match(place) is not None


def scheme_of(place: str) -> str:
    """The lower-case scheme; `file` for a local path, `gs` for Google Cloud Storage under any of its names."""
    match = _URL.match(place)
    scheme = match.group(1).lower() if match else "file"
    return _ALIASES.get(scheme, scheme)


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


def glob_matches(name: str, pattern: str) -> bool:
    """Whether a name matches a glob as a shell has it: `*` and `?` stay within a folder, `**` does not."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern)
    meant = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return (
        re.fullmatch("".join(meant.get(p) or (p if p.startswith("[") else re.escape(p)) for p in parts), name)
        is not None
    )


def name_of(place: str) -> str:
    """The last part: the file name."""
    return place.rstrip("/").rsplit("/", 1)[-1]


def parent_of(place: str) -> str:
    """The folder that the place is in."""
    if scheme_of(place) == "file":
        return os.path.dirname(absolute(place))
    return place.rstrip("/").rsplit("/", 1)[0]


def is_web(place: str) -> bool:
    """Whether `place` is an http or https URL."""
    return scheme_of(place) in ("http", "https")


def redact(place: str) -> str:
    """The place without what could be a secret: user, password, query and fragment of a URL."""
    if not is_url(place):
        return place
    scheme, rest = place.split("://", 1)
    return _redacted(scheme, rest)


def redact_text(text: str) -> str:
    """A text of any origin, such as another library's error, without the secrets of the URLs that it quotes."""
    if "://" in text:
        text = _URL_IN_TEXT.sub(lambda match: _redacted(match[1], match[2]), text)
        text = _QUERY_BEHIND_URL.sub(r"\1", text)
    return _SIGNED_QUERY_IN_TEXT.sub("", text)


def _redacted(scheme: str, rest: str) -> str:
    kind = _ALIASES.get(scheme.lower(), scheme.lower())
    query = _QUERY_AFTER_NAME if kind in STORAGE_SCHEMES else _QUERY
    host, slash, path = query.split(rest, maxsplit=1)[0].partition("/")
    user, _, server = host.rpartition("@")
    if kind in _CONTAINERS and ":" not in user:
        server = host
    return f"{scheme}://{server}{slash}{_USER_IN_PATH.sub('://', path)}"
