"""The pictures of the README, of simulated salons only: docs/status-page.png and docs/status-page-phone.png.

    python tests/screenshots.py [FOLDER]

Runs a service of its own with a throw-away PostgreSQL and a simulated YCLIENTS, and takes the pictures while the salons fill.
Needs Debian's Chromium.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Browser

from support.browser import PHONE, chromium, looking
from support.memory import server_folder
from support.place import Place, place_in
from ycsync.simulator import Options, Simulator
from ycsync.store.embedded import EmbeddedPostgres

DOCS = Path(__file__).parents[1] / "docs"
ZONE = "Europe/Moscow"
SALONS = Options(salons=12, clients=700, visits=6000, latency=0.25, jitter=0.2, first_company=4001)
SIZE = (1180, 900)


async def take(folder: Path) -> None:
    """Both pictures, into this folder."""
    root = server_folder()
    server = EmbeddedPostgres(root, durable=False)
    try:
        with tempfile.TemporaryDirectory(prefix="ycsync-pictures-") as name:
            async with Simulator(SALONS) as simulator, chromium() as browser:
                place = place_in(Path(name), server.start(), simulator)
                try:
                    await pictures(place, browser, folder)
                finally:
                    await place.end()
    finally:
        server.stop()
        shutil.rmtree(root)


async def pictures(place: Place, browser: Browser, folder: Path) -> None:
    """One on a desk, light, while the salons fill; one on a phone, dark, of a salon that is refused."""
    quiet = place.config.read_text("utf-8").replace("clients: 1s, records: 1s", "clients: 5m, records: 5m")
    place.config.write_text(quiet, "utf-8")
    await place.start("run")
    await place.until_log("service.ready")
    url = f"http://127.0.0.1:{place.port}/"
    async with looking(browser, url, size=SIZE, zone=ZONE) as seen:
        await seen.until_state("filling")
        await seen.page.locator("#said-more").filter(has_text="left").wait_for(timeout=120_000)
        await asyncio.sleep(5)
        await seen.page.screenshot(path=folder / "status-page.png")
    place.simulator.fail_next("403", times=10**9, match="/records/4007")
    assert (await place.run("sync", "--company", "4007", "--force")).code == 1
    async with looking(browser, url, scheme="dark", size=PHONE, zone=ZONE) as seen:
        await seen.until_state("trouble")
        await seen.until("#said", "4007")
        await asyncio.sleep(2)
        await seen.page.screenshot(path=folder / "status-page-phone.png")


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS))
