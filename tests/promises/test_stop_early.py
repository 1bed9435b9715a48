"""Signals to `ycsync run` from its first import on: SIGHUP never ends it and is never lost, SIGTERM and SIGINT end it.

The process sends them to itself when a module is looked for, so that the moment is the same on a busy machine.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from support.patience import SAFETY_S
from support.place import Place

# Python imports this by itself, before anything of ycsync.
AT_IMPORTS = """\
import os, signal, sys

class Finder:
    def __init__(self):
        self.sending = False

    def find_spec(self, name, path=None, target=None):
        with open(os.environ["IMPORTS"], "a") as told:
            print(name, file=told)
        first = name == os.environ["AT"] and not self.sending
        if first and os.environ.get("REWRITE"):
            config = sys.argv[-1]
            with open(config) as file:
                text = file.read()
            with open(config, "w") as file:
                file.write(text.replace("preset: test", "preset: other"))
        if first or (self.sending and os.environ.get("EVERY")):
            self.sending = True
            os.kill(os.getpid(), int(os.environ["SIGNAL"]))

sys.meta_path.insert(0, Finder())
"""


async def start(place: Place, at: str, signum: signal.Signals, **environ: str) -> asyncio.subprocess.Process:
    """`ycsync run`, which sends itself `signum` when it imports `at`."""
    folder = place.folder / "early"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(AT_IMPORTS, "utf-8")
    path = f"{folder}:{place.environ['PYTHONPATH']}"
    imports = str(place.folder / "imports")
    return await place.start("run", PYTHONPATH=path, IMPORTS=imports, AT=at, SIGNAL=str(int(signum)), **environ)


def imports(place: Place) -> list[str]:
    file = place.folder / "imports"
    return file.read_text("utf-8").split() if file.exists() else []


async def test_hangups_from_the_first_import_on_do_not_end_a_start(place: Place) -> None:
    """At each of hundreds of imports, and from outside all the while until it is ready."""
    service = await start(place, "typer", signal.SIGHUP, EVERY="1")
    await place.until(lambda: "typer" in imports(place), "the first import that takes long")
    async with asyncio.timeout(SAFETY_S):
        while service.returncode is None and "service.ready" not in place.log():
            service.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.002)
    assert service.returncode is None, service.returncode
    service.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(service.wait(), SAFETY_S) == 0
    assert "Traceback" not in place.log()


async def test_a_hangup_before_the_configuration_is_read_needs_no_reload(place: Place) -> None:
    service = await start(place, "typer", signal.SIGHUP, REWRITE="1")
    await place.until_log("service.ready")
    told = await place.run("reload")
    assert told.code == 0, told.err
    assert place.log().count("config.reloaded") == 1, "the one that was asked for just now"
    assert "preset=other" in place.log()
    service.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(service.wait(), SAFETY_S) == 0


async def test_a_hangup_after_the_configuration_was_read_leads_to_a_reload(place: Place) -> None:
    """The loop's own library is imported after the file was read and before the loop listens."""
    service = await start(place, "uvloop", signal.SIGHUP, REWRITE="1")
    await place.until_log("config.reloaded")
    assert "event=config.reloaded module=service.daemon" in place.log()
    assert "preset=other" in place.log()
    service.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(service.wait(), SAFETY_S) == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("at", ["typer", "aiohttp", "uvloop"])
async def test_a_start_that_is_stopped_ends_in_order(place: Place, at: str, signum: signal.Signals) -> None:
    service = await start(place, at, signum)
    assert await asyncio.wait_for(service.wait(), SAFETY_S) == 0
    assert "Traceback" not in place.log()
    assert "service.ready" not in place.log()
    assert place.simulator.report().requests == 0
    if at != "uvloop":  # then the loop ends what it has begun
        assert imports(place)[-1] == at, "it went on"


PUT_AWAY = """\
import os, signal
from ycsync.service import early
early.listen()
early.hold()
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as a loop leaves it that is closed
early.ended()
os.kill(os.getpid(), signal.SIGHUP)
print("alive")
"""


async def test_a_hangup_does_not_kill_what_puts_the_database_away() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PUT_AWAY, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), SAFETY_S)
    assert (process.returncode, out) == (0, b"alive\n")
