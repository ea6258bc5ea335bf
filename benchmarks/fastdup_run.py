"""What `benchmarks.dedupe` runs in fastdup's own environment: all that fastdup does to find duplicates in a folder, by
its defaults, with nothing sent to anybody. Prints one JSON object."""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    os.environ["SENTRY_OPT_OUT"] = "1"
    folder, work = sys.argv[1:3]
    import fastdup  # type: ignore[import-not-found]

    started = time.perf_counter()
    run = fastdup.create(work_dir=work, input_dir=folder)
    run.run(verbose=False)
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "seconds": round(seconds, 2),
                "images": len(run.annotations()),
                "pairs": len(run.similarity()),
                "in_components": len(run.connected_components()[0]),
            }
        )
    )


if __name__ == "__main__":
    main()
