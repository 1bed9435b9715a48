"""Does the shape of a payload tell enough to find the fault, and nothing of a person?"""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ycsync.model.shape import KNOWN, shape

# Digits and capitals are in no word that a shape itself uses, but for counts: a name of these cannot come in by chance.
secrets = st.text("QXZЖЩ", min_size=3, max_size=12)
values = st.recursive(
    secrets | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(secrets | st.sampled_from(sorted(KNOWN)), inner, max_size=6),
    max_leaves=25,
)


@given(values)
def test_no_word_of_what_stands_in_it_comes_out(value: object) -> None:
    told = shape(json.dumps(value, ensure_ascii=False))
    assert not set(told) & set("QXZЖЩ"), told


def test_names_of_the_api_and_their_types_are_told() -> None:
    row = {
        "id": "12a",
        "name": None,
        "services": [{"id": 1, "price_max": 1.5}, {}],
        "visits": True,
        "Ann Example": "+70000000000",
    }
    assert shape(json.dumps(row)) == (
        "{id: text(3), name: null, services: list(2) of {id: number, price_max: number}, visits: true or false, 1 other}"
    )


def test_what_is_deep_large_or_no_json_is_told_in_short() -> None:
    assert shape('{"data": {"data": {"data": {"data": 1}}}}') == "{data: {data: {data: object(1)}}}"
    assert shape("[[[[[1]]]]]") == "list(1) of list(1) of list(1) of list(1)"
    assert shape("<html>") == "not JSON (6 characters)"
    assert shape("[" * 100_000).startswith("not JSON")
    many = {name: 1 for name in sorted(KNOWN)}
    assert shape(json.dumps(many)).endswith(f"{len(KNOWN) - 60} others}}")
