from __future__ import annotations

import pytest

from catalog.storage.locations import glob_matches


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("day/*.csv", "day/a.csv", True),
        ("day/*.csv", "day/archive/a.csv", False),
        ("day/**/*.csv", "day/archive/a.csv", True),
        ("day/**/*.csv", "day/a.csv", True),
        ("day/?.csv", "day/a.csv", True),
        ("day/?.csv", "day//.csv", False),
        ("day/[ab].csv", "day/b.csv", True),
        ("day/[ab].csv", "day/c.csv", False),
        ("a.b*", "aXb", False),
    ],
)
def test_a_glob_on_a_bucket_is_one_of_a_shell(pattern: str, name: str, matches: bool) -> None:
    assert glob_matches(name, pattern) is matches
