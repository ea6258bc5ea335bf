"""What a consumer needs: a fresh environment with the extra `cpu` and nothing else, measured.

`python -m benchmarks.light_install --json` installs this repository with `[cpu]` into a new virtual environment, counts
packages, megabytes and seconds, times the import, and searches a version there, whose answers must be the ones that it
gives here. Packages come from wherever pip is told to take them from.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.report import print_report
from index_builder.catalog_index import CatalogIndex
from tests.index_builder.vectors import clustered
from tests.index_builder.versions import publish_version

REPOSITORY = Path(__file__).resolve().parents[1]
_IMPORT = "from index_builder.catalog_index import CatalogIndex; from index_builder.faiss_import import faiss; faiss()"
_SEARCH = """
import json, sys
import numpy as np
from index_builder.catalog_index import CatalogIndex
with CatalogIndex.open(sys.argv[1], "shop").watch() as index:
    found = index.search(np.load(sys.argv[2]), 10)
heavy = sorted(name for name in ("apache_beam", "tensorflow") if name in sys.modules)
print(json.dumps({"rows": [[match.row for match in each] for each in found], "heavy": heavy}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as folder:
        print_report("light_install", args.json, **measure(Path(folder)))


def measure(folder: Path) -> dict[str, Any]:
    """Installs, imports and searches."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    before, packages_before = _megabytes(folder / "venv"), len(_packages(folder / "venv"))
    started = time.perf_counter()
    # From a copy of what is installed, so that no build folder is left in the repository.
    subprocess.run(["git", "clone", "-q", REPOSITORY, folder / "source"], check=True)
    _python(folder / "venv", "-m", "pip", "install", "--quiet", f"{folder / 'source'}[cpu]", where=folder)
    installed = time.perf_counter() - started
    names = _packages(folder / "venv")
    publish_version(folder / "store", clustered(2_000, 16), "cosine", "IVF32,SQ8", {"nprobe": 8, "rerank": 4})
    queries = clustered(20, 16, seed=9)
    np.save(folder / "queries.npy", queries)
    here = CatalogIndex.open(str(folder / "store"), "shop").search(queries, 10)
    said = _python(
        folder / "venv", "-c", _SEARCH, str(folder / "store"), str(folder / "queries.npy"), where=folder / "venv"
    )
    answer = json.loads(said)
    assert answer == {"rows": [[match.row for match in each] for each in here], "heavy": []}, said
    imports = []
    for _ in range(5):
        started = time.perf_counter()
        _python(folder / "venv", "-c", _IMPORT, where=folder / "venv")
        imports.append(time.perf_counter() - started)
    return {
        "packages": len(names) - packages_before,
        "megabytes": round(_megabytes(folder / "venv") - before, 1),
        "install_seconds": round(installed, 1),
        "import_seconds": round(median(imports), 2),
        "largest_mb": dict(sorted(_largest(folder / "venv").items(), key=lambda each: -each[1])[:6]),
        "names": names,
    }


def _python(environment: Path, *arguments: str, where: Path) -> str:
    done = subprocess.run(
        [environment / "bin" / "python", *arguments], cwd=where, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _packages(environment: Path) -> list[str]:
    listed = json.loads(_python(environment, "-m", "pip", "list", "--format=json", where=environment))
    return [each["name"] for each in listed]


def _megabytes(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _largest(environment: Path) -> dict[str, float]:
    (packages,) = (environment / "lib").glob("python3*/site-packages")
    return {path.name: round(_megabytes(path), 1) for path in packages.iterdir() if path.is_dir()}


if __name__ == "__main__":
    main()
