"""A stop of the service lasts from the first signal on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from ycsync.config import Settings
from ycsync.notify import Notifier
from ycsync.service.daemon import Daemon


async def test_a_second_signal_does_not_make_a_stop_look_shorter() -> None:
    service = Daemon(cast(Any, SimpleNamespace(settings=Settings())), cast(Any, None), Notifier({}))
    service._stop("SIGTERM")
    first = service.stop_at
    service._stop("SIGINT")
    assert service.stop.is_set()
    assert (service.reason, service.stop_at) == ("SIGTERM", first)
