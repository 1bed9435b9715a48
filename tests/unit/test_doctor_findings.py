"""Does each look of `ycsync doctor` that needs nothing of the world say what is so?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ycsync.config import Yclients
from ycsync.service.doctor.machine import systemd
from ycsync.service.doctor.yclients import clock, limits
from ycsync.store.endpoint import endpoint_of


@pytest.mark.parametrize(
    ("state", "restarts", "level", "says"),
    [
        ("activating", "0", "warn", "the service is starting"),
        ("activating", "7", "fail", "starts again and again, 7 times until now"),
        ("active", "7", "ok", "the service runs"),
        ("failed", "7", "fail", "the service failed: it failed too often in a row"),
    ],
)
async def test_a_service_that_starts_again_and_again_is_broken(state: str, restarts: str, level: str, says: str) -> None:
    unit = {
        "LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": state, "NRestarts": restarts,
        "Result": "start-limit-hit",
    }  # fmt: skip
    found = [one for one in await systemd(unit, None) if one.area == "unit"]
    assert [(one.level, one.says) for one in found if says in one.says] == [(level, found[0].says)]


@pytest.mark.parametrize(
    ("behind_s", "level", "says"), [(0, "ok", "agrees"), (90, "warn", "90 s ahead"), (-90, "warn", "90 s behind")]
)
def test_a_clock_that_differs_from_that_of_yclients_is_told(behind_s: float, level: str, says: str) -> None:
    (found,) = clock(datetime.now(UTC) - timedelta(seconds=behind_s))
    assert (found.level, says in found.says) == (level, True), found


@pytest.mark.parametrize(
    ("url", "per_minute", "per_second", "warns"),
    [
        ("https://api.yclients.com/api/v1", 200, 5, False),
        ("https://api.yclients.com/api/v1", 201, 5, True),
        ("https://API.YCLIENTS.COM/api/v1", 200, 6, True),
        ("https://api.alteg.io/api/v1", 400, 5, True),
        ("https://notyclients.com/api/v1", 400, 9, False),
        ("http://127.0.0.1:8080/api/v1", 400, 9, False),
    ],
)
def test_more_than_yclients_gives_is_a_warning(url: str, per_minute: int, per_second: int, warns: bool) -> None:
    found = limits(Yclients(base_url=url, per_minute=per_minute, per_second=per_second))
    assert [one.level for one in found] == ["warn"] * warns
    assert all("refuses more than 200 a minute and 5 a second from one address" in one.says for one in found)


@pytest.mark.parametrize(
    ("url", "kind", "works"),
    [
        ("postgresql://u@db.abcdefghijklmnopqrst.supabase.co:5432/postgres", "supabase direct", True),
        (
            "postgresql://u.abcdefghijklmnopqrst@aws-0-eu-central-1.pooler.supabase.com/postgres",
            "supabase session pooler",
            True,
        ),
        (
            "postgresql://u.abcdefghijklmnopqrst@aws-0-eu-central-1.pooler.supabase.com:6543/p",
            "supabase transaction pooler",
            True,
        ),
        ("postgresql://u@aws-0-eu-central-1.pooler.supabase.com:6543/postgres", "supabase transaction pooler", False),
        ("postgresql://u@db.abcdefghijklmnopqrst.supabase.co:6543/postgres", "supabase transaction pooler", True),
        ("postgresql://u@db.example.org/salon", "server", True),
        ("postgresql://u@[::1/salon", "server", True),
    ],
)
def test_the_endpoints_of_supabase_are_told_apart(url: str, kind: str, works: bool) -> None:
    endpoint = endpoint_of(url)
    assert endpoint.kind == kind
    assert (endpoint.problem is None) == works
