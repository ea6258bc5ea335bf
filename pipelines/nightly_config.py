"""`nightly.yaml`: read, checked against its schema, and made into the two jobs of a night.

Keys are the flags of `embed` and `index`, and are given to the parsers of those flags, so that both mean the same.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from catalog import storage
from catalog.errors import CatalogIndexerError, UsageError
from catalog.extras import require
from catalog.manifest import artifact_root
from pipelines.flag_types import duration, without_secrets
from pipelines.flags import add_embed_flags, add_index_flags, embed_config, index_config
from pipelines.nightly_places import STORES, with_places

if TYPE_CHECKING:
    from index_builder.publishing.reachable import Retention
    from pipelines.embed import EmbedConfig
    from pipelines.index import IndexConfig
    from pipelines.nightly_dedupe import NightlyDedupe

SCHEMA = Path(__file__).with_name("nightly.schema.json")
_LEASE = "15min"


@dataclass(frozen=True)
class NightlyConfig:
    """A night.

    Attributes:
        where: the file that it was read from.
        embed: the first job.
        index: the second one.
        reports: URL of the folder of the reports.
        lock: URL of the lock.
        lease: seconds that a run that fell silent holds the lock.
        fail_on_rejects: fail before indexing when more rows were rejected or could not be read for now.
        retention: what `gc` keeps when a version was published; None where nothing is collected.
        dedupe: reports of duplicates; None where none is asked for.
        settings: what the file says, places made absolute and secrets left out, for the report.
    """

    where: str
    embed: EmbedConfig
    index: IndexConfig
    reports: str
    lock: str
    lease: float
    fail_on_rejects: int | None
    retention: Retention | None
    dedupe: NightlyDedupe | None
    settings: dict[str, Any]


def read_nightly(place: str, beam_arguments: Sequence[str] = (), runs_on: str | None = None) -> NightlyConfig:
    """The night that a file asks for.

    Args:
        place: path or URL of the file.
        beam_arguments: flags for Beam, after those of the file.
        runs_on: the engine of `--engine`, instead of that of the file.

    Raises:
        UsageError: names the file, the path inside it, the value, and what would be right.
    """
    where = storage.redact(place)
    data = _read(place, where)
    require("yaml")
    from pipelines.yaml_file import parse_yaml

    value = parse_yaml(data, where)
    check_nightly(value, where)
    value = with_places(value, storage.parent_of(storage.absolute(place)), where)
    flags = tuple(value.get("beam", ()))
    try:
        night = _night(value, where, [*flags, *beam_arguments], runs_on)
    except UsageError as error:
        raise type(error)(f"{where}: {error}") from None
    _check_jobs(night, flags)
    return night


def _read(place: str, where: str) -> bytes:
    try:
        return storage.read_bytes(place)
    except FileNotFoundError:
        raise UsageError(f"--config {where}: no such file") from None
    except IsADirectoryError:
        raise UsageError(f"--config {where or repr(where)} is a folder; expected a YAML file") from None
    except (storage.TransientError, TimeoutError) as error:
        raise CatalogIndexerError(f"--config {where} could not be read for now: {error}") from None
    except UsageError as error:
        raise type(error)(f"--config {where}: {error}") from None
    except (OSError, TypeError, ValueError) as error:  # What the libraries behind fsspec raise for odd addresses, too.
        raise UsageError(f"--config {where!r} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _check_jobs(night: NightlyConfig, flags: Sequence[str]) -> None:
    """Raises UsageError for what the jobs would find out once the night has begun. `flags` are the file's own."""
    from encoders.registry import check_spec, with_precision
    from pipelines.runner import check_flags, check_hints, pipeline_options

    with naming(night.where, "beam"):
        check_flags(flags)
    with naming(night.where, "embed"):
        check_spec(with_precision(night.embed.encoder, night.embed.precision))
        check_hints(night.embed.hints)
    with naming(night.where, "index"):
        check_hints(night.index.hints)
    if night.dedupe is not None:
        with naming(night.where, "dedupe"):
            check_hints(night.dedupe.config.hints)
    with naming(night.where, "engine"):
        for job in (night.embed, night.index):
            pipeline_options(job.beam_arguments, job.runs_on, job.asks)
        if night.dedupe is not None:
            deduping = night.dedupe.config
            pipeline_options(deduping.beam_arguments, deduping.runs_on, deduping.asks)


@contextlib.contextmanager
def naming(where: str, section: str) -> Iterator[None]:
    """Sentences that name flags also name the section of the file that they come from."""
    try:
        yield
    except UsageError as error:
        raise type(error)(f"{where}, {section}: {error}") from error


def check_nightly(value: Any, where: str) -> None:
    """Raises UsageError for something that the schema does not allow."""
    validator = require("jsonschema").Draft202012Validator(schema())
    errors = list(validator.iter_errors(value))
    if errors:
        # An unknown key first: what is missing may be what was misspelt.
        raise UsageError(_sentence(min(errors, key=lambda error: error.validator != "additionalProperties"), where))


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    return dict(json.loads(SCHEMA.read_text(encoding="utf-8")))


def _sentence(error: Any, where: str) -> str:
    path = _dotted(error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = next(key for key in error.instance if key not in known)
        near = difflib.get_close_matches(unknown, known, 1)
        right = f"did you mean {_below(path, near[0])}?" if near else f"the keys there are: {', '.join(known)}"
        return f"{where}: {_below(path, unknown)} is no key of a night; {right}"
    if error.validator == "required":
        name = next(key for key in error.validator_value if key not in error.instance)
        return f"{where}: {_below(path, name)} is missing; expected {_expected(error.schema['properties'][name])}"
    if "propertyNames" in error.absolute_schema_path:
        return f"{where}: {path} has the key {_shown(error.instance)}; expected a name without ="
    return f"{where}: {path or 'the whole'} is {_shown(error.instance)}; expected {_expected(error.schema)}"


def _expected(part: Mapping[str, Any]) -> str:
    """What would be right, in words."""
    if "$ref" in part:
        return str(schema()["$defs"][part["$ref"].rsplit("/", 1)[1]]["description"])
    if "enum" in part:
        return f"one of {', '.join(part['enum'])}"
    if part.get("type") == "object":
        return "keys and values" if "properties" not in part else f"the keys {', '.join(part['properties'])}"
    return "a list" if part.get("type") == "array" else str(part["description"])


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _dotted(path: Sequence[Any]) -> str:
    text = ""
    for each in path:
        text = f"{text}[{each}]" if isinstance(each, int) else _below(text, each)
    return text


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _night(value: dict[str, Any], where: str, beam_arguments: Sequence[str], runs_on: str | None) -> NightlyConfig:
    runs_on = runs_on or value.get("engine")
    stores = {name: value[name] for name in ("embeddings", "artifacts", "name")}
    wanted = dict(value.get("index", {}))
    gates, labels = wanted.pop("gates", {}), wanted.pop("labels", {})
    named = {"label": [f"{name}={text}" for name, text in labels.items()]}
    if "source_version_column" in value["embed"] and value["embed"].get("changes") != "column":
        raise UsageError("embed.source_version_column is for embed.changes: column")
    embedding = {name: found for name, found in value["embed"].items() if name != "fail_on_rejects"}
    embed = _parsed(add_embed_flags, {**embedding, "output": value["embeddings"]}, "embed")
    index = _parsed(add_index_flags, {**stores, **wanted, **gates, **named}, "index")
    settings: dict[str, Any] = _without_secrets({**value, "beam": without_secrets(beam_arguments)})
    if runs_on is not None:
        settings["engine"] = runs_on
    for name in STORES:
        storage.check_writable(value[name])
    return NightlyConfig(
        where=where,
        embed=embed_config(embed, beam_arguments, runs_on),
        index=index_config(index, beam_arguments, runs_on),
        reports=value["reports"],
        lock=storage.join(artifact_root(value["artifacts"], value["name"]), "locks", "nightly.json"),
        lease=_lease(value.get("lock", {}).get("lease", _LEASE)),
        fail_on_rejects=value["embed"].get("fail_on_rejects"),
        retention=_retention(value.get("retain")),
        dedupe=_dedupe(value, beam_arguments, runs_on),
        settings=settings,
    )


def _dedupe(value: dict[str, Any], beam_arguments: Sequence[str], runs_on: str | None) -> NightlyDedupe | None:
    if "dedupe" not in value:
        return None
    from pipelines.dedupe_flags import add_dedupe_flags, dedupe_config
    from pipelines.nightly_dedupe import NightlyDedupe

    args = _parsed(add_dedupe_flags, {**value["dedupe"], "embeddings": value["embeddings"]}, "dedupe")
    storage.check_writable(args.output)
    return NightlyDedupe(args.output, dedupe_config(args, beam_arguments, runs_on))


def _parsed(
    add_flags: Callable[[argparse.ArgumentParser], None], values: Mapping[str, Any], section: str
) -> argparse.Namespace:
    """The flags of a job with the values of a section."""

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            said = re.sub(r"^argument --([a-z-]+): ", lambda flag: f"{flag[1].replace('-', '_')}: ", message)
            raise UsageError(f"{section}.{said}")

    parser = Parser(allow_abbrev=False)
    add_flags(parser)
    arguments: list[str] = []
    for key, value in values.items():
        flag = f"--{key.replace('_', '-')}"
        if isinstance(value, bool):
            arguments += [flag] if value else []
        elif key == "catalog":
            arguments += [flag, *(value if isinstance(value, list) else [value])]
        else:
            arguments += [f"{flag}={_plain(each)}" for each in (value if isinstance(value, list) else [value])]
    return parser.parse_args(arguments)


def _plain(value: Any) -> str:
    """A value as a flag has it: in JSON Schema 2.0 is a whole number too."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _lease(text: str) -> float:
    seconds = duration(text)
    if seconds < 10:
        raise UsageError(f"lock.lease is {text!r}; expected 10s at least, for it is renewed every third of it")
    return seconds


def _retention(retain: Mapping[str, Any] | None) -> Retention | None:
    from index_builder.publishing.reachable import Retention

    if retain is None:
        return None
    times = {name: duration(found) for name, found in retain.items() if name != "keep"}
    return Retention(int(retain["keep"]), **times)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    return storage.redact_text(storage.redact(value)) if isinstance(value, str) else value
