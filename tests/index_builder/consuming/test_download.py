from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import storage
from catalog.errors import IntegrityError
from catalog.manifest import ManifestFile
from catalog.storage.base import TransientError
from index_builder.consuming import download as module
from index_builder.consuming.download import Wanted, bytes_to_come, download
from tests.catalog.fault_store import Crash, Fault, FaultStore
from tests.conftest import REPOSITORY

CHUNK = 64
DATA = {name: os.urandom(size) for name, size in (("a", 1_000), ("b", 0), ("c", CHUNK), ("d", CHUNK + 1), ("e", 7))}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FaultStore:
    """A store of five files, read in chunks of 64 bytes."""
    made = FaultStore()
    monkeypatch.setattr(storage, "_store", lambda scheme: made)
    monkeypatch.setattr(module, "CHUNK", CHUNK)
    for name, data in DATA.items():
        storage.write(f"memory://{name}", data)
    return made


def wanted(folder: Path, names: str = "abcde") -> list[Wanted]:
    return [Wanted(f"memory://{name}", folder / name, entry(name, DATA[name])) for name in names]


def entry(name: str, data: bytes) -> ManifestFile:
    return ManifestFile(name, "index", len(data), hashlib.sha256(data).hexdigest())


def noted_reads(patch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """URL and start of every range that is read from now on."""
    asked: list[tuple[str, int]] = []
    real = storage.read_range

    def read_range(url: str, start: int, length: int) -> bytes:
        asked.append((url, start))
        return real(url, start, length)

    patch.setattr(storage, "read_range", read_range)
    return asked


def visible(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".part"}


def test_files_of_every_length_arrive_whole(store: FaultStore, tmp_path: Path) -> None:
    files = wanted(tmp_path)
    assert bytes_to_come(files) == sum(map(len, DATA.values()))
    download(files, "v1")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == DATA


@given(left=st.integers(0, 1_000), names=st.sampled_from(["a", "abcde", "da"]))
@settings(max_examples=40, deadline=None)
def test_a_download_goes_on_from_any_byte(left: int, names: str) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        made = FaultStore()
        patch.setattr(storage, "_store", lambda scheme: made)
        patch.setattr(module, "CHUNK", CHUNK)
        for name, data in DATA.items():
            storage.write(f"memory://{name}", data)
        asked = noted_reads(patch)
        (Path(folder) / "a.part").write_bytes(DATA["a"][:left])
        files = wanted(Path(folder), names)
        assert bytes_to_come(files) == sum(len(DATA[name]) for name in names) - left
        download(files, "v1")
        assert {path.name: path.read_bytes() for path in Path(folder).iterdir()} == {name: DATA[name] for name in names}
        assert min(start for url, start in asked if url == "memory://a") == left


@pytest.mark.parametrize("junk", [b"x" * 100, b"x" * 1_000, b"x" * 5_000])
def test_bytes_of_an_earlier_download_that_are_wrong_are_not_kept(
    store: FaultStore, tmp_path: Path, junk: bytes
) -> None:
    (tmp_path / "a.part").write_bytes(junk)
    download(wanted(tmp_path), "v1")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == DATA


def _longer(data: bytes) -> bytes:
    return data + b"x"


def _changed(data: bytes) -> bytes:
    return data[:570] + bytes([data[570] ^ 1]) + data[571:]


@pytest.mark.parametrize(
    "change", [_longer, _changed, lambda data: data[:-1], lambda data: data[:70], lambda data: b""]
)
@pytest.mark.parametrize("left", [0, 10, 500])
def test_an_object_that_is_not_what_was_published_never_gets_its_name(
    store: FaultStore, tmp_path: Path, change: Callable[[bytes], bytes], left: int
) -> None:
    storage.write("memory://a", change(DATA["a"]))
    (tmp_path / "a.part").write_bytes(DATA["a"][:left])
    with pytest.raises(IntegrityError, match="memory://a is damaged"):
        download(wanted(tmp_path, "da"), "v1")
    assert visible(tmp_path) == {"d": DATA["d"]}
    storage.write("memory://a", DATA["a"])
    download(wanted(tmp_path, "a"), "v1")
    assert visible(tmp_path) == {"d": DATA["d"], "a": DATA["a"]}


def test_an_object_that_changes_under_the_download_never_gets_its_name(store: FaultStore, tmp_path: Path) -> None:
    store.plan({}, {5: lambda: storage.store_for("memory://a").objects.update({"memory://a": (DATA["a"][::-1], 99)})})
    with pytest.raises(IntegrityError, match="memory://a is damaged"):
        download(wanted(tmp_path, "a"), "v1")
    assert visible(tmp_path) == {}


def test_an_object_that_is_missing_is_named(store: FaultStore, tmp_path: Path) -> None:
    store.delete("memory://c")
    with pytest.raises(IntegrityError, match="memory://c is missing; version v1 is not whole"):
        download(wanted(tmp_path), "v1")
    assert visible(tmp_path) == {"a": DATA["a"], "b": b""}


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.LOST_ANSWER])
def test_a_server_that_errs_now_and_then_is_asked_again(
    store: FaultStore, tmp_path: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.retrier, "_sleep", lambda seconds: None)
    store.plan(dict.fromkeys(range(0, 60, 3), fault))
    download(wanted(tmp_path), "v1")
    assert visible(tmp_path) == DATA


def test_a_server_that_fails_for_good_leaves_what_is_done_to_the_next_download(
    store: FaultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.retrier, "_sleep", lambda seconds: None)
    monkeypatch.setattr(module, "IN_FLIGHT", 2)
    store.plan(dict.fromkeys(range(9, 400), Fault.REFUSED))
    with pytest.raises(TransientError, match="slow down"):
        download(wanted(tmp_path), "v1")
    assert visible(tmp_path) == {}
    assert len(DATA["a"]) > wanted(tmp_path)[0].there >= 5 * CHUNK
    store.plan({})
    download(wanted(tmp_path), "v1")
    assert store.operations < 21 - 5
    assert visible(tmp_path) == DATA


def test_a_crash_at_any_request_leaves_whole_files_only_and_the_next_download_ends_it(tmp_path: Path) -> None:
    for place in range(23):
        folder = tmp_path / str(place)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            made = FaultStore()
            patch.setattr(storage, "_store", lambda scheme, made=made: made)
            patch.setattr(module, "CHUNK", CHUNK)
            for name, data in DATA.items():
                storage.write(f"memory://{name}", data)
            made.plan({place: Fault.CRASH_BEFORE})
            try:
                download(wanted(folder), "v1")
            except Crash:
                pass
            else:
                assert place >= 21, place  # So many requests there are.
            assert all(DATA[name] == data for name, data in visible(folder).items())
            made.plan({})
            download([each for each in wanted(folder) if not each.path.exists()], "v1")
            assert {path.name: path.read_bytes() for path in folder.iterdir()} == DATA


def test_a_full_disk_is_not_kept_full_and_later_the_download_ends(
    store: FaultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = os.write, []

    def write(descriptor: int, data: bytes) -> int:
        written.append(len(data))
        if sum(written) > 1_050:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(module.os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        download(wanted(tmp_path), "v1")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}
    monkeypatch.undo()
    monkeypatch.setattr(storage, "_store", lambda scheme: store)
    download([each for each in wanted(tmp_path) if not each.path.exists()], "v1")
    assert visible(tmp_path) == DATA


def test_requests_are_under_way_together_and_no_more_than_said(
    store: FaultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, now, most = threading.Lock(), [0], [0]
    together = threading.Barrier(module.IN_FLIGHT)

    def read_range(url: str, start: int, length: int) -> bytes:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        if start < CHUNK * module.IN_FLIGHT and url == "memory://a":
            together.wait(20)  # All of the first ones, or a broken barrier.
        with lock:
            now[0] -= 1
        return store.read_range(url, start, length)

    monkeypatch.setattr(storage, "read_range", read_range)
    download(wanted(tmp_path), "v1")
    assert most[0] == module.IN_FLIGHT
    assert visible(tmp_path) == DATA


def test_a_download_that_was_killed_goes_on_from_where_it_was(tmp_path: Path) -> None:
    """A process that is killed with signal 9 in the middle of a file."""
    source, folder = tmp_path / "source", tmp_path / "cache"
    folder.mkdir()
    source.write_bytes(os.urandom(2_000_000))
    whole = Wanted(str(source), folder / "f", entry("f", source.read_bytes()))
    code = f"""
import os, signal
from pathlib import Path, PosixPath
from catalog import storage
from catalog.manifest import ManifestFile
from index_builder.consuming import download as module
module.CHUNK = 100_000
real = storage.read_range
def read_range(url, start, length):
    if start >= 1_500_000:
        while Path({str(whole.part)!r}).stat().st_size < 700_000:
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return real(url, start, length)
storage.read_range = read_range
module.download([module.{whole!r}], "v1")
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=60)
    assert killed.returncode == -9
    assert not whole.path.exists()
    left = whole.part.stat().st_size
    assert 700_000 <= left < 1_500_000
    with pytest.MonkeyPatch.context() as patch:
        asked = noted_reads(patch)
        download([whole], "v1")
    assert min(start for _, start in asked) == left
    assert whole.path.read_bytes() == source.read_bytes()
    assert [path.name for path in folder.iterdir()] == ["f"]
