"""A version opened and searched in a process of its own, by the code that a consumer opens it with.

`python -m index_builder.publishing.fresh_open ROOT MANIFEST` does it and prints what it saw as one line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from catalog import canonical_json, storage
from catalog.errors import CatalogIndexerError, IntegrityError
from catalog.manifest import Manifest

# Seconds that opening may take, and bytes a second that a store gives at least.
_PATIENCE = 3_600
_SLOWEST = 10 << 20


@dataclass(frozen=True)
class Opened:
    """What came of it.

    Attributes:
        files: of the version, its manifest among them.
        bytes: of those.
        seconds: from the first byte to the last answer.
        peak_memory: of the process, bytes.
        golden_queries: how many were asked.
        golden: a sentence for each that was answered differently.
        damage: why the version is not what was published; "" if it is.
        failure: why it could not be opened or searched; "" if it could.
        where: `in a fresh process`, or why not.
    """

    files: int
    bytes: int
    seconds: float = 0.0
    peak_memory: int = 0
    golden_queries: int = 0
    golden: list[str] = field(default_factory=list)
    damage: str = ""
    failure: str = ""
    where: str = "in a fresh process"


def open_fresh(root: str, manifest: Manifest) -> Opened:
    """Opens a version in a new process: every byte is read from the store and compared with the manifest, which need
    not be stored yet. What lives in this process alone (`memory://`) is opened here."""
    if storage.scheme_of(root) == "memory":
        return open_here(root, manifest, "in this process, for memory:// has no other")
    with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as scratch:
        path = Path(scratch) / "manifest.json"
        path.write_bytes(manifest.to_bytes())
        patience = _PATIENCE + _size(manifest)[1] / _SLOWEST
        try:
            # A new interpreter, and never a fork: FAISS hangs in a forked child.
            finished = subprocess.run(
                [sys.executable, "-m", "index_builder.publishing.fresh_open", root, str(path)],
                capture_output=True,
                text=True,
                timeout=patience,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
            )
        except subprocess.TimeoutExpired:
            return Opened(*_size(manifest), failure=f"no answer within {patience:,.0f} s")
    lines = finished.stdout.strip().splitlines()
    if finished.returncode == 0 and lines:
        return canonical_json.parse(lines[-1].encode(), "the fresh process", lambda value: Opened(**value))
    said = finished.stderr.strip().splitlines()[-1:] or [f"it ended with {finished.returncode}"]
    return Opened(*_size(manifest), failure=storage.redact_text(said[0]))


def open_here(root: str, manifest: Manifest, where: str = "in a fresh process") -> Opened:
    """Opens a version in this process."""
    from index_builder.catalog_index import CatalogIndex

    files, size = _size(manifest)
    started = time.perf_counter()
    try:
        index = CatalogIndex.of(root, manifest)
        try:
            golden = index.check()
            asked = index.golden_queries()
        finally:
            index.close()
    except IntegrityError as error:
        return Opened(files, size, damage=str(error), where=where)
    except (CatalogIndexerError, OSError, RuntimeError, MemoryError) as error:
        return Opened(files, size, failure=f"{type(error).__name__}: {error}", where=where)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Opened(files, size, time.perf_counter() - started, peak, asked, golden, where=where)


def _size(manifest: Manifest) -> tuple[int, int]:
    return len(manifest.files) + 1, sum(each.bytes for each in manifest.files) + len(manifest.to_bytes())


def main(arguments: Sequence[str]) -> int:
    root, path = arguments
    opened = open_here(root, Manifest.from_bytes(Path(path).read_bytes(), path))
    sys.stdout.write(json.dumps(asdict(opened)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
