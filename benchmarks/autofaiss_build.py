"""What `benchmarks.index` runs in autofaiss's own environment, which has other versions of everything: a build from
.npy within a size, then recall and speed as autofaiss tuned itself. Prints one JSON object."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np


def main() -> None:
    import autofaiss  # type: ignore[import-not-found]
    import faiss

    scratch, size = Path(sys.argv[1]), int(sys.argv[2])
    (scratch / "autofaiss").mkdir(exist_ok=True)
    shutil.copyfile(scratch / "base.npy", scratch / "autofaiss" / "0.npy")
    started = time.perf_counter()
    index, infos = autofaiss.build_index(
        str(scratch / "autofaiss"),
        index_path=str(scratch / "autofaiss.faiss"),
        index_infos_path=str(scratch / "autofaiss.json"),
        max_index_memory_usage=f"{size}B",
        current_memory_available="12G",
        metric_type="ip",
        verbose=40,
    )
    seconds = time.perf_counter() - started
    queries, exact = np.load(scratch / "queries.npy"), np.load(scratch / "exact.npy")
    index = faiss.read_index(str(scratch / "autofaiss.faiss"))
    parameters = (
        infos["index_param"]
        if "index_param" in infos
        else json.loads(Path(scratch / "autofaiss.json").read_text())["index_param"]
    )
    faiss.ParameterSpace().set_index_parameters(index, parameters)
    index.search(queries[:100], 10)
    started = time.perf_counter()
    found = index.search(queries, 10)[1]
    rate = len(queries) / (time.perf_counter() - started)
    recall = float(
        np.mean([len(set(mine) & set(right)) / 10 for mine, right in zip(found.tolist(), exact.tolist(), strict=True)])
    )
    print(
        json.dumps(
            {
                "index_key": infos.get("index_key"),
                "parameters": parameters,
                "seconds": round(seconds, 2),
                "bytes": (scratch / "autofaiss.faiss").stat().st_size,
                "recall": round(recall, 4),
                "queries_per_second": round(rate),
            }
        )
    )


if __name__ == "__main__":
    main()
