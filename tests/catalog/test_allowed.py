"""What a catalog may make us read: schemes, and roots that no spelling leaves."""

from __future__ import annotations

import os
import posixpath
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.storage import ImagePolicy, is_below

names = st.text(
    st.characters(exclude_characters="/\\\0%?#;", exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(lambda name: name.strip() not in (".", "..") and name == name.strip())
roots = st.sampled_from(["/srv/img", "gs://shop/img", "s3://shop", "https://cdn.test/img", "http://cdn.test:8080", "/"])


@pytest.mark.parametrize(
    ("place", "plain", "with_http"),
    [
        ("/srv/a.jpg", None, None),
        ("file:///srv/a.jpg", None, None),
        ("gs://b/a.jpg", None, None),
        ("GCS://b/a.jpg", None, None),
        ("s3://b/a.jpg", None, None),
        ("http://h/a.jpg", "scheme_not_allowed", None),
        ("HTTPS://h/a.jpg", "scheme_not_allowed", None),
        ("github://h/a.jpg", "scheme_not_allowed", "scheme_not_allowed"),
        ("ftp://h/a.jpg", "scheme_not_allowed", "scheme_not_allowed"),
        ("zip://h/a.jpg", "scheme_not_allowed", "scheme_not_allowed"),
    ],
)
def test_web_servers_need_a_flag_and_other_schemes_are_never_read(
    place: str, plain: str | None, with_http: str | None
) -> None:
    assert ImagePolicy().refusal(place) == plain
    assert ImagePolicy(allow_http=True).refusal(place) == with_http


@pytest.mark.parametrize(
    ("root", "place"),
    [
        ("gs://shop/img", "gs://shop/img/x.jpg"),
        ("gs://shop/img/", "gs://shop/img/x.jpg"),
        ("gs://shop/img", "gs://shop/img"),
        ("gcs://shop/img", "gs://shop/img/a b#1?.jpg"),
        ("gs://shop", "gs://shop/x.jpg"),
        ("/srv/img", "/srv/img/x.jpg"),
        ("/srv/img", "file:///srv/img/x.jpg"),
        ("/srv/img", "/srv/other/../img/x.jpg"),
        ("/", "/anything"),
        ("https://cdn.test/img", "https://cdn.test/img/x.jpg?sig=a/../b"),
        ("https://cdn.test/img", "HTTPS://CDN.test:443/img/x.jpg"),
        ("https://cdn.test/a b", "https://cdn.test/a%20b/%C3%A9.jpg"),
        ("https://cdn.test/o", "https://cdn.test/o/folder%2Fx.jpg"),
        ("https://cdn.test", "https://user:key@cdn.test/x.jpg"),
    ],
)
def test_what_is_below_a_root_is_allowed(root: str, place: str) -> None:
    assert ImagePolicy(allow_http=True, roots=("/nowhere", root)).refusal(place) is None


@pytest.mark.parametrize(
    ("root", "place"),
    [
        ("gs://shop/img", "gs://shop/img-private/x.jpg"),
        ("gs://shop/img", "gs://shop/IMG/x.jpg"),
        ("gs://shop/img", "gs://shop/im"),
        ("gs://shop/img", "gs://shop//img/x.jpg"),
        ("gs://shop", "gs://shop-private/x.jpg"),
        ("gs://shop/img", "gs://shop/img/../private/x.jpg"),
        ("gs://shop/img", "s3://shop/img/x.jpg"),
        ("gs://shop/img", "/shop/img/x.jpg"),
        ("/srv/img", "/srv/img-private/x.jpg"),
        ("/srv/img", "/srv/img/../private/x.jpg"),
        ("/srv/img", "file:///srv/img/../private/x.jpg"),
        ("/srv/img", "/srv/IMG/x.jpg"),
        ("https://cdn.test/img", "http://cdn.test/img/x.jpg"),
        ("https://cdn.test/img", "https://cdn.test:8443/img/x.jpg"),
        ("https://cdn.test", "https://cdn.test.evil.test/x.jpg"),
        ("https://cdn.test", "https://cdn.test@evil.test/x.jpg"),
        ("https://cdn.test", "https://cdn.test\\@evil.test/x.jpg"),
        ("https://cdn.test", "https://evil.test#@cdn.test/x.jpg"),
        ("https://cdn.test", "https://evil.test?@cdn.test/x.jpg"),
        ("https://cdn.test", "https://[cdn.test/x.jpg"),
        ("https://cdn.test", "https://cdn.test:99999/x.jpg"),
        ("https://cdn.test/img", "https://cdn.test/%69mg-2/x.jpg"),
        ("https://cdn.test/img", "https://cdn.test/img/../x.jpg"),
        ("https://cdn.test/img", "https://cdn.test/img/%2e%2e/x.jpg"),
        ("https://cdn.test/img", "https://cdn.test/img/.%2E/x.jpg"),
        ("https://cdn.test/img", "https://cdn.test/img/%252e%252e/x.jpg"),
        ("https://cdn.test/img", "https://cdn.test/img/..%2fx.jpg"),
        ("https://cdn.test/img", "https://cdn.test/img/..\\x.jpg"),
        ("https://cdn.test/img", "https://cdn.test/img/..;a=1/x.jpg"),
        ("https://cdn.test/img", f"https://cdn.test/img/%{'25' * 9}2e%{'25' * 9}2e/x.jpg"),
    ],
)
def test_what_is_beside_or_above_a_root_is_not(root: str, place: str) -> None:
    assert ImagePolicy(allow_http=True, roots=(root,)).refusal(place) == "outside_root"


@given(roots, st.lists(names, min_size=1, max_size=4))
def test_every_name_below_a_root_is_allowed_however_it_is_written(root: str, parts: list[str]) -> None:
    place = "/".join([root.rstrip("/"), *parts])
    if not root.startswith("/"):
        assert is_below(root, place)
    assert is_below(root, "/".join([root.rstrip("/"), *map(quote, parts)]))


@given(roots.filter(lambda root: root != "/"), names, st.lists(names, max_size=3))
def test_a_longer_last_name_is_another_place(root: str, more: str, parts: list[str]) -> None:
    assert not is_below(root, "/".join([root + more.replace(":", "x").replace("@", "y"), *parts]))


@given(st.lists(st.one_of(names, st.sampled_from(["..", ".", ""])), max_size=6))
def test_a_local_path_is_where_the_disk_says_it_is(parts: list[str]) -> None:
    place = "/srv/img/" + "/".join(parts)
    inside = posixpath.relpath(os.path.abspath(place), "/srv/img").split("/")[0] != ".."
    assert is_below("/srv/img", place) is inside


@given(
    st.sampled_from(["gs://shop/img", "https://cdn.test/img"]),
    st.lists(names, max_size=3),
    st.sampled_from(["..", "%2e%2e", "%2E.", "..%2f", "%252e%252e", "..\\", "..;x"]),
    st.lists(names, max_size=3),
)
def test_no_url_climbs(root: str, before: list[str], climb: str, after: list[str]) -> None:
    assert not is_below(root, "/".join([root, *before, climb, *after]))
