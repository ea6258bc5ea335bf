"""A job as a program of its own, `python -m pipelines.embed …`, as Beam and its templates start one: flags that are not
the job's are Beam's, the summary is the last line of stdout."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from catalog.errors import CatalogIndexerError
from catalog.storage import redact_text
from pipelines.flags import add_embed_flags, add_index_flags, embed_config, index_config
from pipelines.nightly_flags import add_nightly_flags

_FLAGS = {"embed": add_embed_flags, "index": add_index_flags, "nightly": add_nightly_flags}


def main(job: str, arguments: Sequence[str] | None = None) -> int:
    """Runs `embed`, `index` or `nightly`; returns the exit code: 0 done, 1 the run failed, 2 wrong usage, 3 a gate
    refused, 4 another run is under way."""
    parser = argparse.ArgumentParser(prog=f"python -m pipelines.{job}", allow_abbrev=False)
    _FLAGS[job](parser)
    args, beam_arguments = parser.parse_known_args(arguments)
    try:
        sys.stdout.write(json.dumps(_run(job, args, beam_arguments)) + "\n")
    except CatalogIndexerError as error:
        sys.stderr.write(f"{parser.prog}: {redact_text(str(error))}\n")
        return error.exit_code
    return 0


def _run(job: str, args: argparse.Namespace, beam_arguments: Sequence[str]) -> dict[str, object]:
    # By name, so that the steps of a job belong to its module and not to the program that was started.
    if job == "embed":
        from pipelines.embed import embed

        return asdict(embed(embed_config(args, beam_arguments), _say))
    if job == "nightly":
        from pipelines.nightly import nightly
        from pipelines.nightly_config import read_nightly

        night = nightly(read_nightly(args.config, beam_arguments), _say)
        if night.error is not None:
            raise night.error
        return night.to_json()
    from index_builder.publishing.promote import refusal
    from pipelines.index import run_index

    summary, promotion = run_index(index_config(args, beam_arguments), _say)
    if promotion.refused:
        raise refusal(promotion, args.artifacts, args.name)
    return asdict(summary)


def _say(line: str) -> None:
    sys.stderr.write(f"{redact_text(line)}\n")
