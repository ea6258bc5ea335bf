"""`catalog-indexer COMMAND …`: finds the command, runs it, turns what went wrong into one sentence and an exit code.

Exit codes: 0 done, 1 the run failed, 2 wrong usage, 3 a gate refused, 4 another run is under way.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import NoReturn

from catalog.errors import CatalogIndexerError, meant_for_user
from catalog.extras import explain_missing
from catalog.storage import redact_text
from commands.output import EnginesLeftOut, SecretsLeftOut

# In the order of the work. Each module, named with _ for -, has HELP, add_arguments(parser) and run(args), and imports
# heavy things late.
COMMANDS = (
    "demo",
    "scan",
    "embed",
    "import-vectors",
    "rejects",
    "index",
    "search",
    "versions",
    "diff",
    "verify",
    "promote",
    "rollback",
    "pin",
    "gc",
    "dedupe",
    "nightly",
)
# Of two words; each is a module as well, `index_plan`.
SUBCOMMANDS = ("index plan", "dedupe calibrate", "dedupe check", "dedupe rethreshold", "dedupe apply")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    beam_arguments: list[str] = []
    if "--" in given:
        split = given.index("--")
        given, beam_arguments = given[:split], given[split + 1 :]
    if " ".join(given[:2]) in SUBCOMMANDS:
        given = [" ".join(given[:2]), *given[2:]]
    args = _parser().parse_args(given)
    args.beam_arguments = tuple(beam_arguments)
    # Libraries log notices on import; Beam's own warnings (a flag that it does not know, say) stay.
    log = logging.StreamHandler()
    log.setFormatter(SecretsLeftOut("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.ERROR, handlers=[log])
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    logging.getLogger("pipelines").setLevel(logging.WARNING)
    if not args.debug:
        # Workers log the traceback of every error, also of those that are answered below with one sentence.
        for module in ("runners.common", "runners.worker", "runners.portability.fn_api_runner"):
            logging.getLogger(f"apache_beam.{module}").setLevel(logging.CRITICAL)
        logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.ERROR)
        log.addFilter(EnginesLeftOut())
    # TensorFlow reads this once, at import: its start-up notices are not news to anybody who runs a job.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        if beam_arguments and not args.takes_beam_arguments:
            print(f"catalog-indexer {args.command}: takes no flags after --", file=sys.stderr)
            return 2
        with _interrupt_at_once(args.command):
            return int(args.run(args))
    except CatalogIndexerError as error:
        _tell(args, str(error))
        return error.exit_code
    except Exception as error:
        cause = explain_missing(error) if isinstance(error, ModuleNotFoundError) else meant_for_user(error)
        if cause is None and isinstance(error, OSError) and error.filename and error.strerror:
            cause = CatalogIndexerError(f"{error.filename}: {error.strerror}")
        message = str(cause) if cause else f"{type(error).__name__}: {error} (--debug shows where)"
        _tell(args, message)
        return cause.exit_code if cause else 1


def _tell(args: argparse.Namespace, message: str) -> None:
    """What went wrong, without secrets: one sentence, or with `--debug` the traceback."""
    if args.debug:
        sys.stderr.write(redact_text(traceback.format_exc()))
    else:
        print(f"catalog-indexer {args.command}: {redact_text(message)}", file=sys.stderr)


@contextlib.contextmanager
def _interrupt_at_once(command: str) -> Iterator[None]:
    """Ctrl-C ends the process there and then: what is done is committed, and the threads of a job would go on with
    their partitions for minutes."""

    def stop(number: int, frame: object) -> None:
        print(
            f"\ncatalog-indexer {command}: interrupted; the same command goes on from here", file=sys.stderr, flush=True
        )
        os._exit(1)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(redact_text(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="catalog-indexer",
        description="Turns a product catalog of images into a searchable, versioned FAISS index.",
        epilog="Flags after -- go to Apache Beam: catalog-indexer embed … --engine dataflow -- --project=P",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in (*COMMANDS, *SUBCOMMANDS):
        module = importlib.import_module(f"commands.{name.replace('-', '_').replace(' ', '_')}")
        command = commands.add_parser(
            name, help=module.HELP, description=module.HELP, epilog=getattr(module, "EPILOG", None), allow_abbrev=False
        )
        module.add_arguments(command)
        command.add_argument("--debug", action="store_true", help="show a traceback when something fails")
        command.set_defaults(run=module.run, takes_beam_arguments=getattr(module, "TAKES_BEAM_ARGUMENTS", False))
    return parser


if __name__ == "__main__":
    sys.exit(main())
