"""The status page in a real browser: Debian's Chromium, driven by Playwright; whatever it complains of fails the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, Page, async_playwright

from support.patience import SAFETY_S

CHROMIUM = Path("/usr/bin/chromium")
# Root has no sandbox; the rest keeps it from asking anybody on the network for anything.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WAIT_MS = 1000 * SAFETY_S
PHONE, DESK = (390, 844), (1280, 900)


@dataclass
class Seen:
    """One open page. `complaints`: errors of the page, of its scripts and of its security policy; `asked`: each address."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def until(self, selector: str, text: str) -> str:
        """Wait until the first such element says `text`; returns all that it says."""
        await self.page.locator(selector).filter(has_text=text).first.wait_for(timeout=WAIT_MS)
        return await self.text(selector)

    async def until_state(self, state: str) -> None:
        """Wait for the verdict."""
        await self.page.locator(f'#verdict[data-state="{state}"]').wait_for(timeout=WAIT_MS)

    async def text(self, selector: str) -> str:
        return " ".join((await self.page.locator(selector).first.inner_text()).split())

    async def texts(self, selector: str) -> list[str]:
        return [" ".join(text.split()) for text in await self.page.locator(selector).all_inner_texts()]

    async def barriers(self) -> list[str]:
        """What axe finds: an empty list, or each rule with the first place that breaks it."""
        source = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
        await self.page.evaluate(source)
        found: dict[str, Any] = await self.page.evaluate("axe.run()")
        assert len(found["passes"]) > 10
        return [f"{rule['id']}: {rule['nodes'][0]['html'][:200]}" for rule in found["violations"]]

    async def is_wider_than_the_window(self) -> bool:
        wide: bool = await self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        return wide


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser with a profile of its own, gone with the context."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def looking(
    browser: Browser,
    url: str,
    *,
    scheme: Literal["light", "dark"] = "light",
    size: tuple[int, int] = DESK,
    zone: str = "Asia/Vladivostok",
) -> AsyncIterator[Seen]:
    """The page, opened by somebody; afterwards nothing may have been complained of or asked elsewhere."""
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, timezone_id=zone, locale="ru-RU"
    )
    context.set_default_timeout(WAIT_MS)
    seen = Seen(await context.new_page(), url)
    seen.page.on("console", lambda said: seen.complaints.append(said.text) if said.type in ("error", "warning") else None)
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.on("request", lambda request: seen.asked.append(request.url))
    try:
        await seen.page.goto(url)
        yield seen
    finally:
        await context.close()
    assert seen.complaints == []
    assert [each for each in seen.asked if not each.startswith(url)] == []
