from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from catalog import storage
from catalog.errors import CatalogIndexerError, IntegrityError, UsageError
from index_builder.catalog_index import CatalogIndex
from index_builder.consuming import download as download_module
from index_builder.consuming.cache import VARIABLE, Cache, NoSpaceError, prune
from index_builder.consuming.locks import FileLock
from tests.catalog.object_stores import gcs_server
from tests.conftest import REPOSITORY
from tests.index_builder.consuming.shops import flip, point_channel, publish_shop, upload


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    """A version v1 in an object store in memory."""
    vectors = publish_shop(tmp_path / "source")
    url = f"memory://{tmp_path.name}-{os.getpid()}"
    upload(tmp_path / "source", url)
    assert len(vectors)
    yield url
    storage.delete_tree(url)


def cached(cache: Path) -> list[str]:
    """Names of the versions in a cache."""
    return sorted(path.name.rsplit("-", 1)[0] for path in cache.glob("shop-*/*-*") if path.is_dir())


def cached_files(cache: Path) -> dict[str, Path]:
    return {path.name: path for path in cache.glob("shop-*/*-*/*")}


def counted_downloads(patch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files of which a range is read from now on."""
    names: list[str] = []
    real = storage.read_range

    def read_range(url: str, start: int, length: int) -> bytes:
        names.append(storage.name_of(url))
        return real(url, start, length)

    patch.setattr(storage, "read_range", read_range)
    return names


def test_a_version_is_downloaded_once_and_opened_from_the_cache_after_that(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, names = tmp_path / "cache", counted_downloads(monkeypatch)
    with_cache = CatalogIndex.open(bucket, "shop", cache=cache)
    local = CatalogIndex.open(str(tmp_path / "source"), "shop")
    queries = np.random.default_rng(1).random((20, 8), np.float32)
    assert with_cache.search(queries, 5) == local.search(queries, 5)
    with_cache.close()
    assert set(names) == {entry.path for entry in local.manifest.files}
    names.clear()
    again = CatalogIndex.open(bucket, "shop", cache=cache)
    assert names == []
    assert again.search(queries, 5) == local.search(queries, 5)


def test_the_cache_is_where_one_says_it_is(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "by-variable"))
    CatalogIndex.open(bucket, "shop").close()
    assert cached(tmp_path / "by-variable") == ["v1"]
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Cache().folder == tmp_path / "home" / ".cache" / "catalog-indexer"


def test_a_folder_that_cannot_be_the_cache_is_named(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match=r"the cache .*/file/cache cannot be used: Not a directory; name another"):
        CatalogIndex.open(bucket, "shop", cache=tmp_path / "file" / "cache")


def test_a_local_version_is_not_copied(tmp_path: Path) -> None:
    publish_shop(tmp_path / "source")
    CatalogIndex.open(str(tmp_path / "source"), "shop", cache=tmp_path / "cache").close()
    assert not (tmp_path / "cache").exists()


def test_without_a_cache_nothing_is_left(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    manifest = CatalogIndex.open(bucket, "shop", cache=tmp_path / "cache").manifest
    index = CatalogIndex.of(storage.join(bucket, "shop"), manifest)
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    index.close()
    assert list((tmp_path / "tmp").iterdir()) == []
    assert len(index.search(np.ones(8), 3)) == 3


@pytest.mark.parametrize("harm", ["flip", "truncate", "lengthen", "delete"])
def test_what_is_damaged_in_the_cache_and_nothing_else_is_downloaded_anew(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    cache = tmp_path / "cache"
    CatalogIndex.open(bucket, "shop", cache=cache).close()
    names = counted_downloads(monkeypatch)
    for name, path in sorted(cached_files(cache).items()):
        whole = path.read_bytes()
        if harm == "flip":
            flip(path, 8 * len(whole) // 2)
        elif harm == "delete":
            path.unlink()
        else:
            path.write_bytes(whole[:-1] if harm == "truncate" else whole + b"x")
        names.clear()
        CatalogIndex.open(bucket, "shop", cache=cache).close()
        assert set(names) == {name}
        assert path.read_bytes() == whole


def test_a_damaged_object_is_refused_and_leaves_no_file_with_its_name(bucket: str, tmp_path: Path) -> None:
    url, cache = f"{bucket}/shop/versions/v1/items.arrow", tmp_path / "cache"
    whole = storage.read_bytes(url)
    storage.write(url, whole[:999] + bytes([whole[999] ^ 4]) + whole[1_000:])
    for _ in range(2):
        with pytest.raises(IntegrityError, match=r"items\.arrow is damaged"):
            CatalogIndex.open(bucket, "shop", cache=cache)
        assert not any(name.startswith("items") for name in cached_files(cache))
    storage.write(url, whole)
    CatalogIndex.open(bucket, "shop", cache=cache).close()


def test_the_three_versions_that_were_opened_last_stay_and_open_ones_besides(bucket: str, tmp_path: Path) -> None:
    cache, source = tmp_path / "cache", tmp_path / "source"
    first = CatalogIndex.open(bucket, "shop", cache=cache)
    for number in range(2, 7):
        publish_shop(source, f"v{number}", seed=number)
        upload(source, bucket)
        CatalogIndex.open(bucket, "shop", cache=cache).close()
    assert cached(cache) == ["v1", "v4", "v5", "v6"]
    assert len(first.search(np.ones(8), 3)) == 3
    first.close()
    assert cached(cache) == ["v4", "v5", "v6"]
    assert {path.name.split("-")[0] for path in cache.glob("shop-*/*.open")} == {"v4", "v5", "v6"}
    point_channel(bucket, "v1")
    CatalogIndex.open(bucket, "shop", cache=cache).close()
    assert cached(cache) == ["v1", "v5", "v6"]


def test_a_version_that_is_no_good_takes_the_place_of_no_good_one(bucket: str, tmp_path: Path) -> None:
    cache, source = tmp_path / "cache", tmp_path / "source"
    for number in range(2, 4):
        publish_shop(source, f"v{number}", seed=number)
    upload(source, bucket)
    for number in range(1, 4):
        CatalogIndex.open(bucket, "shop", version=f"v{number}", cache=cache).close()
    for number in range(4, 7):
        publish_shop(source, f"v{number}", seed=number)
        upload(source, bucket)
        storage.delete(f"{bucket}/shop/versions/v{number}/vectors.npy")
        with pytest.raises(IntegrityError, match=r"vectors\.npy is missing"):
            CatalogIndex.open(bucket, "shop", cache=cache)
    assert cached(cache) == ["v1", "v2", "v3"]


def test_a_disk_without_room_is_told_before_anything_is_downloaded(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = counted_downloads(monkeypatch)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=(64 << 20) + 1_000))
    with pytest.raises(NoSpaceError, match=r"has no room for version v1-\w+: [\d,]+ bytes are .* and 1,000 are free"):
        CatalogIndex.open(bucket, "shop", cache=tmp_path / "cache")
    assert names == []


def test_where_the_disk_is_short_earlier_versions_go_first(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, source, usage = tmp_path / "cache", tmp_path / "source", shutil.disk_usage(tmp_path)
    for number in range(2, 5):
        publish_shop(source, f"v{number}", seed=number)
    upload(source, bucket)
    for number in range(1, 4):
        CatalogIndex.open(bucket, "shop", version=f"v{number}", cache=cache).close()
    # There is room for one more when two are gone.
    room = lambda path: usage._replace(free=(1 << 40) if len(cached(cache)) <= 2 else 0)  # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", room)
    CatalogIndex.open(bucket, "shop", version="v4", cache=cache).close()
    assert cached(cache) == ["v3", "v4"]


def test_a_disk_that_fills_up_meanwhile_leaves_the_cache_usable(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, real, written = tmp_path / "cache", os.write, [0]

    def write(descriptor: int, data: bytes) -> int:
        written[0] += len(data)
        if written[0] > 20_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download_module.os, "write", write)
        with pytest.raises(OSError, match="No space left"):
            CatalogIndex.open(bucket, "shop", cache=cache)
    assert not any(name.endswith(".part") for name in cached_files(cache))
    CatalogIndex.open(bucket, "shop", cache=cache).close()


def test_threads_that_open_at_once_download_once(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, found = counted_downloads(monkeypatch), []

    def work() -> None:
        try:
            found.append(len(CatalogIndex.open(bucket, "shop", cache=tmp_path / "cache").search(np.ones(8), 4)))
        except CatalogIndexerError as error:
            found.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [4] * 8
    assert len(names) == len(set(names))


def test_processes_that_open_at_once_download_once_also_when_one_is_killed(tmp_path: Path) -> None:
    """Four processes, one of them killed in the middle of its download, and every object asked for twice at most."""
    publish_shop(tmp_path / "source")
    with gcs_server(tmp_path) as bucket:
        upload(tmp_path / "source", bucket)
        code = f"""
import os, signal, sys
import numpy as np
from catalog import storage
from index_builder.catalog_index import CatalogIndex
from index_builder.consuming import download
download.CHUNK = 1_000
real, asked = storage.read_range, []
def read_range(url, start, length):
    asked.append(url)
    if sys.argv[1] == "killed" and len(asked) == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(url, start, length)
storage.read_range = read_range
index = CatalogIndex.open({bucket!r}, "shop", cache={str(tmp_path / "cache")!r})
print(len(index.search(np.ones(8), 3)), len(asked))
"""
        run = [sys.executable, "-c", code]
        killed = subprocess.Popen([*run, "killed"], cwd=REPOSITORY)
        others = [subprocess.Popen([*run, ""], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        answers = [other.communicate(timeout=120)[0].split() for other in others]
        killed.wait(60)
    assert [answer[0] for answer in answers] == ["3"] * 3
    # The killed one may have come last, when there was nothing to download; then it lives.
    assert killed.returncode in (0, -9)
    assert sum(int(answer[1]) > 0 for answer in answers) <= 1
    assert not any(name.endswith(".part") for name in cached_files(tmp_path / "cache"))


def test_a_lock_outlives_no_file_and_no_holder(tmp_path: Path) -> None:
    path = tmp_path / "here" / "v1.open"
    one, other = (FileLock.take(path, exclusive=False) for _ in range(2))
    assert one is not None
    assert other is not None
    assert FileLock.take(path, exclusive=True, wait=False) is None
    one.release()
    one.release()
    assert FileLock.take(path, exclusive=True, wait=False) is None
    other.release()
    alone = FileLock.take(path, exclusive=True, wait=False)
    assert alone is not None
    waiting: list[FileLock | None] = []
    thread = threading.Thread(target=lambda: waiting.append(FileLock.take(path, exclusive=False)))
    thread.start()
    path.unlink()  # As the pruner does: the lock that is waited for is none any more.
    alone.release()
    thread.join(20)
    assert waiting[0] is not None
    assert path.exists()
    assert FileLock.take(path, exclusive=True, wait=False) is None


def test_pruning_a_cache_that_is_gone_does_nothing(tmp_path: Path) -> None:
    prune(tmp_path / "nowhere")
