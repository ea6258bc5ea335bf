from __future__ import annotations

import threading
from pathlib import Path

import pytest

from catalog import storage
from catalog.errors import IntegrityError
from catalog.version_log import append_to_log, logged, read_log
from tests.catalog.test_storage import root

__all__ = ["root"]  # A fixture: a folder in each kind of store.


def test_a_version_is_logged_once_and_a_new_build_of_it_again(tmp_path: Path) -> None:
    at = str(tmp_path)
    first = append_to_log(at, "v1", "a" * 64)
    assert append_to_log(at, "v1", "a" * 64) == first
    again = append_to_log(at, "v1", "b" * 64)
    assert [entry.sequence for entry in read_log(at)] == [1, 2]
    assert logged(at, "v1") == again
    assert logged(at, "v2") is None


def test_of_sixteen_at_once_each_gets_its_own_number_without_a_gap(root: str) -> None:
    versions = [f"v{number:02d}" for number in range(16)]
    together, failed = threading.Barrier(16), []

    def work(version: str) -> None:
        together.wait()
        try:
            append_to_log(root, version, version.rjust(64, "0"))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failed == []
    log = read_log(root)
    assert [entry.sequence for entry in log] == list(range(1, 17))
    assert sorted(entry.version for entry in log) == versions


def test_a_missing_entry_and_a_damaged_one_are_named(tmp_path: Path) -> None:
    at = str(tmp_path)
    for number in range(3):
        append_to_log(at, f"v{number}", "a" * 64)
    storage.delete(f"{at}/log/000002.json")
    with pytest.raises(IntegrityError, match="log: entry 2 is missing"):
        read_log(at)
    storage.write(f"{at}/log/000002.json", b'{"schema_version": 1}')
    with pytest.raises(IntegrityError, match=r"log/000002.json is damaged"):
        read_log(at)
