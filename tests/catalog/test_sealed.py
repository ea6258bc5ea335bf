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
