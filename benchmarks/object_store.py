"""GETs of many small objects: the storage door against the stores' other Python clients, on real servers on loopback.

`python -m benchmarks.object_store --json` stores objects of a photo's size in a GCS and an S3 server (`make tools`) and
reads each once, in turn: through `catalog.storage.fetch` with as many threads as the image loader has, through Google's
own client with as many threads, and, where they are installed, through `gcsfs`' and `s3fs`' concurrent `cat`.
Processor time counts as much as the rate: what a GET costs in Python, no other core makes good.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.report import interleaved, print_report, ratio
from catalog import storage
from encoders.image_loader import _FETCHERS
from tests.catalog.object_stores import gcs_server, s3_server

OBJECT_BYTES = 60_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = {}
    for scheme, server in (("gs", gcs_server), ("s3", s3_server)):
        with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as bucket:
            found[scheme] = measure(bucket, args.objects, args.rounds)
    ratios = {
        f"{scheme}_door_over_{name}": ratio(rates["door"], rates[name])
        for scheme, (rates, _) in found.items()
        for name in rates
        if name != "door"
    }
    print_report(
        "object_store",
        args.json,
        objects=args.objects,
        object_bytes=OBJECT_BYTES,
        gets_per_second={scheme: rates for scheme, (rates, _) in found.items()},
        processor_milliseconds_a_get={scheme: costs for scheme, (_, costs) in found.items()},
        ratios=ratios,
    )


def measure(bucket: str, objects: int, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """GETs a second of each client, by round, and the processor time of one GET in the last round."""
    urls = [f"{bucket}/photo-{number}" for number in range(objects)]
    data = os.urandom(OBJECT_BYTES)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda url: storage.write(url, data), urls))
    costs: dict[str, float] = {}

    def timed(name: str, read: Callable[[], None]) -> Callable[[], float]:
        def run() -> float:
            started, used = time.perf_counter(), time.process_time()
            read()
            costs[name] = round((time.process_time() - used) / objects * 1e3, 3)
            return round(objects / (time.perf_counter() - started), 1)

        return run

    clients = {"door": lambda: threads(urls, lambda url: len(storage.fetch(url, 1 << 20).data))}
    if bucket.startswith("gs:"):
        store = storage.store_for(bucket)
        clients["google_cloud_storage"] = lambda: threads(urls, lambda url: len(store.read_bytes(url)))
    module = {"gs": "gcsfs", "s3": "s3fs"}[storage.scheme_of(bucket)]
    if importlib.util.find_spec(module):
        clients[module] = fsspec_cat(bucket, urls)
    for warm_up in clients.values():
        warm_up()
    return interleaved(rounds, {name: timed(name, read) for name, read in clients.items()}), costs


def threads(urls: list[str], read: Callable[[str], int]) -> None:
    """Reads every object with the image loader's number of threads."""
    with ThreadPoolExecutor(_FETCHERS) as pool:
        assert all(size == OBJECT_BYTES for size in pool.map(read, urls))


def fsspec_cat(bucket: str, urls: list[str]) -> Callable[[], None]:
    """Reads every object with one concurrent `cat`."""
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # It would look for a gRPC server first.
    import fsspec

    if bucket.startswith("gs:"):
        system = fsspec.filesystem("gs", token="anon", endpoint_url=os.environ["STORAGE_EMULATOR_HOST"])
    else:
        system = fsspec.filesystem(
            "s3",
            key=os.environ["AWS_ACCESS_KEY_ID"],
            secret=os.environ["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        )

    def read() -> None:
        assert len(system.cat(urls)) == len(urls)

    return read


if __name__ == "__main__":
    main()
