"""Would the search for private things find them? (Every other test of this folder is searched by conftest.)"""

from __future__ import annotations

import pytest

from support import privacy


@pytest.mark.parametrize(
    "text",
    [
        "batch.failed error=Ольга Лисова",
        "phone=79990000011",
        "phone +79990000011",
        "client12@example.com",
        "Authorization: Bearer partner-secret-1",
        '{"success": true}',
        "{'phone': None}",
        "7999*****11",
        "comment=аллергия на лак",
    ],
)
def test_a_leak_is_found(text: str) -> None:
    assert privacy.private(text)


@pytest.mark.parametrize("text", ["company=4001 id=2147483000 rows=300", "2026-11-23T10:00:00.791234567Z", "in 79990 requests"])
def test_what_may_be_said_is_not(text: str) -> None:
    assert not privacy.private(text)
