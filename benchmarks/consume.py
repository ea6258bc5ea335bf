"""A consumer under load, while versions are published, taken back, and damaged.

`python -m benchmarks.consume --json` publishes an index, watches its channel, and asks it from eight threads without a
pause: through 20 publishes, five of them of damaged versions, and five rollbacks. Another process publishes. Every
answer is compared with the right one of the version that gave it. Between two moves of the channel there is a quiet
second, so that the latency of queries while a version is loaded and takes over is set against that of the same threads
in the same minute when nothing moves.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import print_report
from catalog import storage
from catalog.channel import read_channel
from catalog.manifest import read_manifest, version_folder
from index_builder.catalog_index import CatalogIndex
from index_builder.publishing.promote import move, rollback
from index_builder.publishing.publish import publish
from index_builder.publishing.verify import find_version
from tests.catalog.object_stores import gcs_server
from tests.index_builder.vectors import clustered
from tests.index_builder.versions import publish_version

THREADS, CONTENTS, QUERIES = 8, 3, 200
# What is done to each version that is published; None: nothing, "back": it is taken back afterwards.
STEPS: tuple[str | None, ...] = (
    *(None, "flip index", "back", None, None, "delete items", None, "back", None, "flip manifest"),
    *("back", None, None, "cut vectors", None, "back", None, None, "flip items", None, None, None, "back", None, None),
)
# Seconds before and after another version takes over.
AROUND = 0.1


@dataclass
class Asked:
    """What one thread saw: when each query began and ended, and what was wrong."""

    times: list[tuple[float, float]] = field(default_factory=list)
    failed: int = 0
    wrong: int = 0
    corrupt: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--store", choices=("file", "gs"), default="file", help="gs: a server on loopback, and a cache")
    parser.add_argument("--quiet", type=float, default=1.0, help="seconds between two moves of the channel")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that a thread waits between two queries")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as folder:
        root = Path(folder)
        for seed in range(CONTENTS):
            vectors, point = clustered(args.vectors, args.dimension, seed=seed), {"nprobe": 8, "rerank": 4}
            publish_version(root, vectors, "cosine", "IVF256,SQ8", point, version=f"content-{seed}")
        with contextlib.ExitStack() as stack:
            artifacts = str(root)
            if args.store == "gs":
                artifacts = stack.enter_context(gcs_server(root))
                for path in sorted((root / "shop").rglob("*.*")):
                    if path.is_file():
                        storage.put_file(path, storage.join(artifacts, *path.relative_to(root).parts))
            os.environ["CATALOG_INDEXER_CACHE"] = str(root / "cache")
            found = measure(artifacts, args)
    print_report("consume", args.json, store=args.store, vectors=args.vectors, dimension=args.dimension, **found)


def measure(root: str, args: argparse.Namespace) -> dict[str, Any]:
    """Plays all steps under load. `root` is the store of artifacts."""
    queries = clustered(QUERIES, args.dimension, seed=99)
    right = {}
    for seed in range(CONTENTS):
        index = CatalogIndex.open(root, "shop", version=f"content-{seed}")
        right[f"content-{seed}"] = [[match.row for match in index.search(query)] for query in queries]
    size = sum(entry.bytes for entry in index.manifest.files)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    publisher = context.Process(target=_publish, args=(storage.join(root, "shop"), theirs), daemon=True)
    publisher.start()
    content_of = {name: name for name in right}
    damaged: set[str] = set()
    windows: list[tuple[float, float]] = []
    takeovers: list[float] = []
    loads: list[float] = []
    with CatalogIndex.open(root, "shop").watch(every=0.02) as live:
        over = threading.Event()
        asked = [Asked() for _ in range(THREADS)]

        def ask(number: int) -> None:
            mine, rng = asked[number], np.random.default_rng(number)
            while not over.is_set():
                place = int(rng.integers(QUERIES))
                begun = time.perf_counter()
                try:
                    with live.hold() as index:
                        version = index.manifest.version
                        found = index.search(queries[place])
                except Exception:
                    mine.failed += 1
                    continue
                mine.times.append((begun, time.perf_counter()))
                mine.corrupt += version in damaged
                mine.wrong += [match.row for match in found] != right[content_of[version]][place]
                time.sleep(args.pause) if args.pause else None

        threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        time.sleep(3)
        begun = time.perf_counter()
        before = live.version
        for turn, step in enumerate(STEPS):
            name, content = f"v{turn:02d}", f"content-{turn % CONTENTS}"
            if step != "back":
                content_of[name] = content
                if step is not None:
                    damaged.add(name)
                ours.send((name, content, step))
                ours.recv()
            time.sleep(args.quiet)
            refused = live.failures
            started = time.perf_counter()
            ours.send("back" if step == "back" else name)
            ours.recv()
            if step is None:
                _wait(lambda expected=name: live.version == expected)  # type: ignore[misc]
            elif step == "back":
                # To what was served before; or from a damaged version to what is served still; or to a damaged one.
                back = read_channel(storage.join(root, "shop"), "prod").pointer
                assert back is not None
                if back.version in damaged:
                    _wait(lambda count=refused: live.failures > count)  # type: ignore[misc]
                else:
                    _wait(lambda expected=back.version: live.version == expected)  # type: ignore[misc]
            else:
                _wait(lambda count=refused: live.failures > count)  # type: ignore[misc]
            if live.version != before:
                takeovers.append(time.perf_counter())
                loads.append(live.load_seconds)
            if live.version != before or live.failures > refused:
                _wait(lambda: not live._retired)
                windows.append((started, time.perf_counter()))
            before = live.version
        ended = time.perf_counter()
        over.set()
        for thread in threads:
            thread.join()
        swaps, refusals, tried = live.swaps, live.failures, live.failures_by_kind
    publisher.terminate()
    times = np.array([pair for each in asked for pair in each.times])
    times = times[(times[:, 0] > begun - 2) & (times[:, 1] < ended)]
    took = (times[:, 1] - times[:, 0]) * 1e3
    during = np.zeros(len(times), bool)
    for start, end in windows:
        during |= (times[:, 0] < end) & (times[:, 1] > start)
    around = np.zeros(len(times), bool)
    for moment in takeovers:
        around |= (times[:, 0] < moment + AROUND) & (times[:, 1] > moment - AROUND)
    steady, swapping = np.percentile(took[~during], [50, 99]), np.percentile(took[during], [50, 99])
    takeover = float(np.percentile(took[around], 99))
    return {
        "bytes_of_a_version": size,
        "queries": sum(len(each.times) for each in asked),
        "queries_per_second": round(len(times) / (ended - begun + 2)),
        "queries_during_swaps": int(during.sum()),
        "publishes": sum(step != "back" for step in STEPS),
        "damaged": len(damaged),
        "rollbacks": STEPS.count("back"),
        "swaps": swaps,
        "refusals": refusals,
        "refusals_by_kind": {kind: count for kind, count in tried.items() if count},
        "failed_queries": sum(each.failed for each in asked),
        "answers_from_a_damaged_version": sum(each.corrupt for each in asked),
        "wrong_answers": sum(each.wrong for each in asked),
        "load_seconds": round(float(np.median(loads)), 3),
        "p50_ms_steady": round(float(steady[0]), 2),
        "p50_ms_during_swaps": round(float(swapping[0]), 2),
        "p99_ms_steady": round(float(steady[1]), 2),
        "p99_ms_during_swaps": round(float(swapping[1]), 2),
        "p99_ms_around_takeovers": round(takeover, 2),
        "p99_ratio": round(float(swapping[1] / steady[1]), 3),
        "p99_ratio_around_takeovers": round(takeover / float(steady[1]), 3),
    }


def _wait(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _publish(root: str, commands: Connection) -> None:
    """The publisher: stores a version under a name, from what another one has, and moves the channel when told."""
    while True:
        command = commands.recv()
        if command == "back":
            rollback(root, "prod")
        elif isinstance(command, str):
            move(root, read_channel(root, "prod"), find_version(root, version=command), [])
        else:
            _store(root, *command)
        commands.send(True)


def _store(root: str, name: str, content: str, harm: str | None) -> None:
    manifest = read_manifest(root, content)
    folder = version_folder(root, name)
    for entry in manifest.files:
        source, target = storage.join(version_folder(root, content), entry.path), storage.join(folder, entry.path)
        if storage.scheme_of(root) == "file":
            os.makedirs(folder, exist_ok=True)
            os.link(source, target)
        else:
            storage.write(target, storage.read_bytes(source))
    publish(root, replace(manifest, version=name))
    if harm is not None:
        what, role = harm.split()
        paths = ["manifest.json"] if role == "manifest" else [entry.path for entry in manifest.files_of(role)]
        for url in (storage.join(folder, path) for path in paths):
            storage.delete(url) if what == "delete" else storage.write(url, _damaged(storage.read_bytes(url), what))


def _damaged(data: bytes, what: str) -> bytes:
    place = len(data) // 2
    return data[:-1] if what == "cut" else data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


if __name__ == "__main__":
    main()
