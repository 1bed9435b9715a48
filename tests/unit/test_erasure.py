"""What stays of a payload whose client was erased, and of another's that names one?"""

from __future__ import annotations

import json

import pytest

from ycsync.model.erasure import numbers, stripped, suspects, without

OTHER = {"id": 71, "name": "B"}
NAMED = {
    "id": 5, "client": OTHER, "comer": {"id": "70001", "name": "A"}, "clients": [OTHER, {"id": 70001}, 70001], "cost": 1.50,
    "comment": "of the other",
    "lines": [{"client_id": "70001", "comment": "A's", "amount": 70001}, {"client_id": 71, "comment": "x"}],
}  # fmt: skip


def test_of_a_payload_that_names_an_erased_client_only_the_client_is_taken() -> None:
    assert json.loads(without(json.dumps(NAMED), {70001})) == {
        **NAMED,
        "comer": None,
        "clients": [OTHER],
        "lines": [{"client_id": None, "comment": "", "amount": 70001}, {"client_id": 71, "comment": "x"}],
    }
    plain = '{"visit_id": 70001, "cost": 1.50}'
    assert without(plain, {70001}) == plain


def test_of_ones_own_payload_only_what_is_declared_stays() -> None:
    stays = {"id": frozenset[str](), "online": frozenset[str](), "services": frozenset({"id"})}
    lines = '[{"id": 3, "master": {}, "note": "A"}, "A"]'
    raw = f'{{"id": 1, "online": {{"name": "A"}}, "client": {{"id": 2}}, "services": {lines}, "new": "A"}}'
    assert json.loads(stripped(raw, stays)) == {"id": 1, "online": {}, "services": [{"id": 3}]}
    assert stripped('["A"]', stays) == "{}"


@pytest.mark.parametrize("others", [0, 100])
def test_no_payload_that_names_an_erased_client_is_passed_over(others: int) -> None:
    ids = {70001, *range(900_000, 900_000 + others)}
    texts = [json.dumps(NAMED), '{"id": 7}', '{"client_id":70001}', '{"client_id":"70001"}', '{"client": 7000}']
    assert suspects(texts, ids) >= {0, 2, 3}
    assert suspects(texts, ids).isdisjoint({1, 4})
    assert 70001 in numbers(texts[3])
