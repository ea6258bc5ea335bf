"""YAML as a configuration is written in it: plain values only, every key a text and given once."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import yaml

from catalog.errors import UsageError

# A configuration is written by hand.
_MOST_BYTES = 1 << 20


def parse_yaml(data: bytes, where: str) -> Any:
    """The value in `data`.

    Raises:
        UsageError: names `where` and the line: it is no YAML, a key is there twice or is no text, something is an
            alias, or a value cannot be meant.
    """
    if len(data) > _MOST_BYTES:
        raise UsageError(f"{where} has {len(data):,} bytes; a configuration has {_MOST_BYTES:,} at most")
    try:
        value = yaml.load(data.decode("utf-8-sig"), Loader=_Loader)
        _check(value, where, "")
    except UnicodeDecodeError:
        raise UsageError(f"{where} is not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{where}{line}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UsageError(f"{where}: values are nested too deeply for a configuration") from None
    return value


class _Loader(yaml.SafeLoader):
    """`SafeLoader`, but a key that is there twice is an error and not the last one, and so is an alias: a few lines of
    them are more values than there is memory for, or a value inside itself."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            problem = f"*{event.anchor} is an alias, which a configuration has not; write the value itself"
            raise yaml.composer.ComposerError(problem=problem, problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                problem = f"the key {getattr(key, 'value', 'here')!r} is no text; put it into quotes"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            if key.value in seen:
                problem = f"the key {key.value} is there twice; keep one of them"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _check(value: Any, where: str, path: str) -> None:
    """Refuses what reads like something else than it is."""
    if isinstance(value, dict):
        for key, each in value.items():
            _check(each, where, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            _check(each, where, f"{path}[{number}]")
    elif isinstance(value, str) and "${" in value:
        raise UsageError(f"{where}: {path} is {value!r}; variables are not filled in, write the value itself")
    elif isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{where}: {path} is {value}; expected a number that has an end")
