from __future__ import annotations

import pytest

from catalog.errors import UsageError
from pipelines.yaml_file import parse_yaml


def bomb() -> bytes:
    """A thousand bytes that are 10^40 values."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 41)]
    return "\n".join(lines).encode()


def test_plain_values_are_read() -> None:
    text = "a: 1\nb: [x, 2.5, true]\nc: {d: '007'}\n"
    assert parse_yaml(text.encode("utf-8-sig"), "f") == {"a": 1, "b": ["x", 2.5, True], "c": {"d": "007"}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a: 1\nb: 2\na: 3\n", "f, line 3: the key a is there twice; keep one of them"),
        (b"a:\n  b: 1\n  b: 1\n", "f, line 3: the key b is there twice; keep one of them"),
        (b"a: {1: x}\n", "f, line 1: the key '1' is no text; put it into quotes"),
        (b"a:\n  on: x\n", "f, line 2: the key 'on' is no text; put it into quotes"),
        (b"? [a]\n: b\n", "f, line 1: the key"),
        (b"a: [1\n", "f, line 2: expected ',' or ']'"),
        (b"a: !!python/object/apply:os.system [x]\n", "f, line 1: could not determine a constructor"),
        (b"a: &x {n: 1}\nb: *x\n", "f, line 2: *x is an alias, which a configuration has not; write the value itself"),
        (b"a: &a [*a]\n", "f, line 1: *a is an alias"),
        (b"a: &x {n: 1}\nb: {<<: *x}\n", "f, line 2: *x is an alias"),
        (b"a: {<<: {n: 1}}\n", "f, line 1: the key '<<' is no text"),
        (bomb(), "f, line 2: *a0 is an alias"),
        (b"a: " + b"[" * 100_000, "f: values are nested too deeply"),
        (b"a: 1\n---\nb: 2\n", "f, line 2: but found another document"),
        (b"a: \xff\n", "f is not UTF-8"),
        (b"a: {b: [x, '${HOME}/y']}\n", "f: a.b[1] is '${HOME}/y'; variables are not filled in"),
        (b"a: .nan\n", "f: a is nan; expected a number that has an end"),
        (b"a: [1, -.inf]\n", "f: a[1] is -inf; expected a number that has an end"),
        (b"a: \x07\n", "f is not YAML"),
        (b"#" * (1 << 20) + b"#", "f has 1,048,577 bytes"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_the_place(text: bytes, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_yaml(text, "f")
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)
