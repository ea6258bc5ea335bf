"""A job as a program of its own, `python -m pipelines.embed …`, as Beam and its templates start one: flags that are not
the job's are Beam's, the summary is the last line of stdout."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from catalog.errors import meant_for_user
from catalog.storage import redact_text
from pipelines.dedupe_flags import add_dedupe_flags, dedupe_config
from pipelines.flags import add_embed_flags, add_engine_flag, add_index_flags, embed_config, index_config
from pipelines.night_summary import NightSummary, exit_code, sentence
from pipelines.nightly_flags import add_nightly_flags

_FLAGS = {
    "embed": add_embed_flags,
    "index": add_index_flags,
    "dedupe": add_dedupe_flags,
    "nightly": add_nightly_flags,
}


def main(job: str, arguments: Sequence[str] | None = None) -> int:
    """Runs one of the jobs; returns the exit code: 0 done, 1 the run failed, 2 wrong usage, 3 a gate refused, 4 another
    run is under way."""
    parser = argparse.ArgumentParser(prog=f"python -m pipelines.{job}", allow_abbrev=False)
    _FLAGS[job](parser)
    add_engine_flag(parser)
    args, beam_arguments = parser.parse_known_args(arguments)
    try:
        summary, stopped = _run(job, args, beam_arguments)
    except Exception as error:
        summary, stopped = NightSummary.not_begun(error).to_json() if job == "nightly" else None, error
    if summary is not None:
        sys.stdout.write(json.dumps(summary) + "\n")
    if stopped is not None:
        said = f"{parser.prog}: {sentence(stopped)}\n"
        # A defect: where it is, is more than its name.
        trace = "" if meant_for_user(stopped) else redact_text("".join(traceback.format_exception(stopped)))
        sys.stderr.write(trace + said)
    return exit_code(stopped)


def _run(
    job: str, args: argparse.Namespace, beam_arguments: Sequence[str]
) -> tuple[dict[str, Any] | None, Exception | None]:
    """The summary of a job, and what stopped it."""
    # By name, so that the steps of a job belong to its module and not to the program that was started.
    if job == "embed":
        from pipelines.embed import embed

        return asdict(embed(embed_config(args, beam_arguments, args.engine), _say)), None
    if job == "dedupe":
        from pipelines.dedupe import dedupe

        return dedupe(dedupe_config(args, beam_arguments, args.engine), _say), None
    if job == "nightly":
        from pipelines.nightly import nightly
        from pipelines.nightly_config import read_nightly

        night = nightly(read_nightly(args.config, beam_arguments, args.engine), _say)
        return night.to_json(), night.error
    from index_builder.publishing.promote import refusal
    from pipelines.index import run_index

    summary, promotion = run_index(index_config(args, beam_arguments, args.engine), _say)
    return asdict(summary), refusal(promotion, args.artifacts, args.name) if promotion.refused else None


def _say(line: str) -> None:
    sys.stderr.write(f"{redact_text(line)}\n")
