"""Every store keeps the same promises: the door is one, whatever is behind it."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest

from catalog import storage
from catalog.errors import ConflictError, MissingExtraError, UsageError

_fresh = itertools.count()


@pytest.fixture(params=["local", "memory", "gcs", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder in each kind of store."""
    folder = f"case-{next(_fresh)}"
    if request.param == "local":
        return str(tmp_path / folder)
    if request.param == "memory":
        return f"memory://{folder}"
    return f"{request.getfixturevalue(request.param)}/{folder}"


def test_what_is_written_is_read(root: str) -> None:
    url = storage.join(root, "a", "b.bin")
    storage.write(url, b"0123456789")
    assert storage.read_bytes(url) == b"0123456789"
    assert storage.read_bytes(url, 4) == b"0123"
    assert storage.size(url) == 10
    assert storage.exists(url)
    with storage.open_read(url) as file:
        file.seek(5)
        assert file.read(2) == b"56"


def test_a_fetch_gives_the_first_bytes_and_their_version(root: str) -> None:
    url = storage.join(root, "photo.jpg")
    storage.write(url, bytes(range(100)) * 30_000)
    fetched = storage.fetch(url, 250)
    assert fetched.data == (bytes(range(100)) * 3)[:250]
    assert fetched.version == storage.version_of(url)
    assert len(storage.fetch(url, 5_000_000).data) == 3_000_000
    storage.write(url, b"")
    assert storage.fetch(url, 10).data == b""
    with pytest.raises(FileNotFoundError):
        storage.fetch(storage.join(root, "nothing"), 10)


def test_a_range_is_read_and_ends_where_the_object_does(root: str) -> None:
    url = storage.join(root, "ranged")
    storage.write(url, bytes(range(200)))
    assert storage.read_range(url, 0, 200) == bytes(range(200))
    assert storage.read_range(url, 150, 7) == bytes(range(150, 157))
    assert storage.read_range(url, 190, 100) == bytes(range(190, 200))
    assert storage.read_range(url, 200, 5) == storage.read_range(url, 1_000, 5) == storage.read_range(url, 3, 0) == b""
    with pytest.raises(FileNotFoundError):
        storage.read_range(storage.join(root, "nothing"), 0, 10)


def test_an_empty_object_can_be_read_with_a_limit(root: str) -> None:
    storage.write(storage.join(root, "empty"), b"")
    assert storage.read_bytes(storage.join(root, "empty"), 100) == b""


def test_what_is_not_there_raises_file_not_found(root: str) -> None:
    url = storage.join(root, "nothing")
    assert not storage.exists(url)
    assert storage.read_with_token(url) == (None, None)
    for operation in (storage.read_bytes, storage.open_read, storage.size, storage.version_of):
        with pytest.raises(FileNotFoundError):
            operation(url)


def test_create_refuses_to_overwrite(root: str) -> None:
    url = storage.join(root, "once.json")
    storage.create(url, b"first")
    with pytest.raises(ConflictError, match=r"once\.json exists already"):
        storage.create(url, b"second")
    assert storage.read_bytes(url) == b"first"


def test_compare_and_swap_wants_the_object_that_was_read(root: str) -> None:
    url = storage.join(root, "prod.json")
    storage.compare_and_swap(url, b"one", None)
    data, token = storage.read_with_token(url)
    assert data == b"one"
    storage.compare_and_swap(url, b"two", token)
    with pytest.raises(ConflictError, match=r"prod\.json was changed by somebody else"):
        storage.compare_and_swap(url, b"three", token)
    with pytest.raises(ConflictError):
        storage.compare_and_swap(url, b"three", None)
    assert storage.read_bytes(url) == b"two"


def test_of_sixteen_creators_at_once_exactly_one_wins(root: str) -> None:
    url, outcomes = storage.join(root, "claim"), []

    def claim(number: int) -> None:
        try:
            storage.create(url, str(number).encode())
            outcomes.append(number)
        except ConflictError:
            outcomes.append(None)

    _at_once(claim, 16)
    winners = [outcome for outcome in outcomes if outcome is not None]
    assert len(outcomes) == 16
    assert storage.read_bytes(url) == str(winners[0]).encode()
    assert len(winners) == 1


def test_no_increment_is_lost_when_eight_swap_at_once(root: str) -> None:
    url = storage.join(root, "counter")
    storage.compare_and_swap(url, b"0", None)

    def increment(_: int) -> None:
        while True:
            data, token = storage.read_with_token(url)
            try:
                storage.compare_and_swap(url, str(int(data or b"0") + 1).encode(), token)
                return
            except ConflictError:
                continue

    _at_once(increment, 8)
    assert storage.read_bytes(url) == b"8"


def test_files_are_listed_below_a_folder_and_not_beside_it(root: str) -> None:
    for name in ("x/1", "x/y/2", "xx/3"):
        storage.write(storage.join(root, name), b"")
    listed = [url.removeprefix(root).lstrip("/") for url in storage.list_files(storage.join(root, "x"))]
    assert listed == ["x/1", "x/y/2"]
    assert list(storage.list_files(storage.join(root, "none"))) == []


def test_a_glob_names_its_matches_and_a_name_itself(root: str) -> None:
    for name in ("a-1.csv", "a-2.csv", "b.csv"):
        storage.write(storage.join(root, name), b"")
    assert [storage.name_of(url) for url in storage.expand(storage.join(root, "a-*.csv"))] == ["a-1.csv", "a-2.csv"]
    assert [storage.name_of(url) for url in storage.expand(storage.join(root, "b.csv"))] == ["b.csv"]
    assert storage.expand(storage.join(root, "c*.csv")) == []


def test_the_version_changes_when_the_object_does(root: str) -> None:
    url = storage.join(root, "photo.jpg")
    storage.write(url, b"one")
    before = storage.version_of(url)
    assert storage.version_of(url) == before
    storage.write(url, b"another")
    assert storage.version_of(url) != before


def test_put_file_and_local_copy_carry_a_file_there_and_back(root: str, tmp_path: Path) -> None:
    (tmp_path / "here.bin").write_bytes(b"payload")
    url = storage.join(root, "there.bin")
    storage.put_file(tmp_path / "here.bin", url)
    (tmp_path / "copies").mkdir()
    assert storage.local_copy(url, tmp_path / "copies").read_bytes() == b"payload"


def test_delete_deletes_one_object_and_twice_is_as_good_as_once(root: str) -> None:
    one, other = storage.join(root, "a"), storage.join(root, "ab")
    storage.write(one, b"1")
    storage.write(other, b"2")
    storage.delete(one)
    storage.delete(one)
    assert not storage.exists(one)
    assert storage.read_bytes(other) == b"2"


def test_delete_tree_deletes_what_is_below_and_nothing_else(root: str) -> None:
    storage.write(storage.join(root, "run/1"), b"")
    storage.write(storage.join(root, "run-2/1"), b"")
    storage.delete_tree(storage.join(root, "run"))
    assert not storage.exists(storage.join(root, "run/1"))
    assert storage.exists(storage.join(root, "run-2/1"))


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(5, "input/output error")])
def test_a_folder_of_the_disk_that_cannot_be_read_is_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """For root, to whom no folder is closed, by a disk that says so."""
    for name in ("a/1", "b/1", "c/1"):
        storage.write(str(tmp_path / name), b"")
    scandir = os.scandir

    def closed(folder: object) -> object:
        name = os.readlink(f"/proc/self/fd/{folder}") if isinstance(folder, int) else str(folder)
        if name == str(tmp_path / "b"):
            raise error
        return scandir(folder)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", closed)
    for work in (storage.list_files, storage.delete_tree):
        for folder in (tmp_path, tmp_path / "b"):
            with pytest.raises(OSError, match=error.strerror):
                work(str(folder))
    assert (tmp_path / "b" / "1").exists()


def test_what_goes_while_a_folder_of_the_disk_is_walked_through_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir
    for work in (storage.list_files, storage.delete_tree):
        for name in ("a/1", "b/1"):
            storage.write(str(tmp_path / "top" / name), b"")

        def going(folder: object) -> object:
            found = list(scandir(folder))  # type: ignore[call-overload]
            if any(each.name == "b" for each in found):
                shutil.rmtree(tmp_path / "top" / "b")
            return contextlib.nullcontext(iter(found)) if isinstance(folder, int) else _Entries(found)

        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", going)
            listed = work(str(tmp_path / "top"))
        if listed is not None:
            assert list(listed) == [str(tmp_path / "top" / "a" / "1")]
    assert not (tmp_path / "top").exists()


class _Entries(contextlib.AbstractContextManager):  # type: ignore[type-arg]
    """What `os.scandir` gives."""

    def __init__(self, entries: list[os.DirEntry[str]]) -> None:
        self._entries = iter(entries)

    def __next__(self) -> os.DirEntry[str]:
        return next(self._entries)

    def __exit__(self, *_: object) -> None:
        pass


def test_a_file_that_is_stored_while_its_folder_is_deleted_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write(str(tmp_path / "top" / "1"), b"")
    unlink = os.unlink

    def late(*arguments: object, **more: object) -> None:
        unlink(*arguments, **more)  # type: ignore[arg-type]
        (tmp_path / "top" / "2").write_bytes(b"late")

    monkeypatch.setattr(os, "unlink", late)
    storage.delete_tree(str(tmp_path / "top"))
    assert (tmp_path / "top" / "2").read_bytes() == b"late"


def test_below_a_file_of_the_disk_there_is_nothing(tmp_path: Path) -> None:
    url = str(tmp_path / "file")
    storage.write(url, b"data")
    assert list(storage.list_files(url)) == []
    storage.delete_tree(url)
    assert storage.read_bytes(url) == b"data"
    storage.delete_tree(str(tmp_path / "none"))


def test_a_failed_local_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for write in (storage.write, storage.create):
        with pytest.raises(OSError, match="No space left"):
            write(str(tmp_path / "file"), b"data")
    assert list(tmp_path.iterdir()) == []


def test_writing_where_no_conditional_write_is_possible_is_refused() -> None:
    for write in (storage.create, storage.write):
        with pytest.raises(UsageError, match="data:// is not supported, for want of conditional writes"):
            write("data://x", b"")


def test_a_scheme_whose_package_is_missing_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    storage._store.cache_clear()
    with pytest.raises(MissingExtraError, match=r"abfs:// cannot be read: .*adlfs"):
        storage.read_bytes("abfs://bucket/x")


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(UsageError, match="nosuch:// is not a storage scheme"):
        storage.read_bytes("nosuch://bucket/x")


def test_secrets_are_redacted_from_urls() -> None:
    assert storage.redact("https://user:key@host/p.jpg?X-Signature=abc#f") == "https://host/p.jpg"
    assert storage.redact("/plain/path?.jpg") == "/plain/path?.jpg"


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("HTTPS://h/p.jpg?SECRET", "HTTPS://h/p.jpg"),
        ("ftp://user@h/p.jpg#SECRET", "ftp://h/p.jpg"),
        ("gs://shop/shoe #3.jpg", "gs://shop/shoe #3.jpg"),
        ("gs://shop/what?.jpg", "gs://shop/what?.jpg"),
        ("gs://shop/a.jpg?X-Goog-Signature=SECRET", "gs://shop/a.jpg"),
        ("s3://KEY:SECRET@shop/a.jpg", "s3://shop/a.jpg"),
        ("abfs://photos@shop.test/a.jpg?sig=SECRET", "abfs://photos@shop.test/a.jpg"),
        ("abfs://photos:SECRET@shop.test/a.jpg", "abfs://shop.test/a.jpg"),
    ],
)
def test_what_is_redacted_is_no_part_of_a_name(place: str, shown: str) -> None:
    assert storage.redact(place) == shown
    assert storage.redact(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no URL, and what? nothing #1", "no URL, and what? nothing #1"),
        ("GET https://u:SECRET@h/a?sig=SECRET failed", "GET https://h/a failed"),
        ("in 'https://h/a?x='&sig=SECRET' and gs://b/c#1", "in 'https://h/a and gs://b/c#1"),
        (
            "Max retries exceeded with url: /a?sig=SECRET&x=SECRET (Caused by)",
            "Max retries exceeded with url: /a (Caused by)",
        ),
        ("url: /a?se=2026&sp=r&sig=SECRET#x", "url: /a"),
        ("at /b/o?X-Goog-Signature=SECRET and /b/o?x-amz-security-token=SECRET", "at /b/o and /b/o"),
        ("/a?accessKey=SECRET, /a#access_token=SECRET", "/a /a"),
        ("https://h/it's?x=SECRET", "https://h/it's"),
        (
            "color-histogram[:rgb|hsv], tfhub:HANDLE[?size=224], x",
            "color-histogram[:rgb|hsv], tfhub:HANDLE[?size=224], x",
        ),
        ("--encoder savedmodel:/m/n?size=9: no, and gs://b/c", "--encoder savedmodel:/m/n?size=9: no, and gs://b/c"),
        ("1https://u:SECRET@h/a", "1https://h/a"),
        ("https://u:SE'CRET@h/a,https://u:SECRET@h/b", "https://h/a,https://h/b"),
    ],
)
def test_secrets_are_redacted_from_the_urls_in_a_text(text: str, shown: str) -> None:
    assert storage.redact_text(text) == shown


def _at_once(work, count: int) -> None:
    barrier = threading.Barrier(count)

    def wait_and_work(number: int) -> None:
        barrier.wait()
        work(number)

    threads = [threading.Thread(target=wait_and_work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
