from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.sealed import new_key, seal, unseal

texts = st.text(st.characters(exclude_categories=("Cs",)))


@given(texts, texts)
def test_what_was_sealed_is_opened_with_the_same_key_and_place_alone(text: str, place: str) -> None:
    key = new_key()
    sealed = seal(text, place, key)
    assert unseal(sealed, place, key) == text
    assert sealed == seal(text, place, key)
    changed = bytes([sealed[0] ^ 1]) + sealed[1:]
    for wrong in ((sealed, place, new_key()), (sealed, place + "x", key), (changed, place, key)):
        with pytest.raises(ValueError, match="sealed with another key, or for another place"):
            unseal(*wrong)


def test_two_secrets_are_mixed_with_two_streams() -> None:
    """Where both had the same, their difference would show."""
    key = new_key()
    one, two = seal("a" * 64, "c.csv row 2", key), seal("a" * 64, "c.csv row 3", key)
    assert one[16:] != two[16:]
    assert len({*one[16:]}) > 16
