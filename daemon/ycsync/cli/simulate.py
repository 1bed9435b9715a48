"""`ycsync simulate` and `ycsync demo`: a fake YCLIENTS, alone or with the main job done against it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ycsync.cli.common import ConfigOption, command, run
from ycsync.config import parse_duration
from ycsync.errors import YcsyncError
from ycsync.simulator import Options, Simulator, format_report, serve

DEMO_CONFIG = """\
preset: aggressive
yclients:
  base_url: {url}
database:
  url: embedded
http: {{listen: false}}
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("simulate")(simulate)
    app.command("demo")(demo)


@command
def simulate(
    port: Annotated[int, typer.Option(help="0: any free one.")] = 8788,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    salons: Annotated[int, typer.Option(min=1)] = 1,
    clients: Annotated[int, typer.Option(min=0, help="A salon.")] = 1000,
    visits: Annotated[int, typer.Option(min=0, help="A salon.")] = 12000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same salon.")] = 1,
    latency: Annotated[str, typer.Option(help="Of every answer: 250ms.")] = "0ms",
    jitter: Annotated[str, typer.Option(help="The latency varies by so much.")] = "0ms",
    faults: Annotated[float, typer.Option(min=0, max=1, help="Share of answers that are broken.")] = 0.0,
    churn: Annotated[int, typer.Option(min=0, help="Changes of the salon after every request.")] = 0,
    per_second: Annotated[int, typer.Option(help="0: no limit.")] = 5,
    per_minute: Annotated[int, typer.Option(help="0: no limit.")] = 200,
    others: Annotated[int, typer.Option(min=0, help="Requests a minute that other clients take of each limit.")] = 0,
    records_cap: Annotated[int, typer.Option(help="Most visits on a page.")] = 1000,
    partner_token: Annotated[str | None, typer.Option(help="The only one that is accepted.")] = None,
    user_token: Annotated[str | None, typer.Option(help="The only one that is accepted.")] = None,
    hook_delay: Annotated[str, typer.Option(help="From a change to its webhook, which goes to this machine only.")] = "5s",
    hook_loss: Annotated[float, typer.Option(min=0, max=1, help="Share of webhooks that are never sent.")] = 0.0,
    hook_double: Annotated[float, typer.Option(min=0, max=1, help="Share of webhooks that are sent twice.")] = 0.0,
    config: ConfigOption = None,
) -> int:
    """The YCLIENTS simulator alone; it stops with Ctrl-C and says what it saw. It needs no configuration."""
    del config
    options = Options(
        host=host, port=port, salons=salons, clients=clients, visits=visits, seed=seed,
        latency=_seconds(latency), jitter=_seconds(jitter),
        faults=faults, churn=churn, per_second=per_second, per_minute=per_minute, others=others,
        records_cap=records_cap,
        partner_token=partner_token, user_token=user_token,
        hook_delay=_seconds(hook_delay), hook_loss=hook_loss, hook_double=hook_double,
    )  # fmt: skip
    started: list[Simulator] = []

    def ready(simulator: Simulator) -> None:
        started.append(simulator)
        print(f"simulated YCLIENTS at {simulator.url} (any tokens do unless given); Ctrl-C ends it", flush=True)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(serve(options, on_ready=ready))
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    try:
        run(main())
    except OSError as exc:
        raise YcsyncError(f"cannot listen on {host}:{port} ({exc.strerror}). Choose another with --port.") from exc
    if started:
        print(format_report(started[0].report()))
    return 0


@command
def demo(
    clients: Annotated[int, typer.Option(min=1)] = 1000,
    visits: Annotated[int, typer.Option(min=0)] = 12000,
    seed: Annotated[int, typer.Option()] = 1,
    latency: Annotated[str, typer.Option(help="Of every simulated answer.")] = "250ms",
    churn: Annotated[int, typer.Option(min=0, help="Changes of the salon after every request.")] = 0,
    config: ConfigOption = None,
) -> int:
    """The main job on this machine with nothing set up: embedded PostgreSQL, a simulated salon, full sync, verify.

    Everything is thrown away at the end; your configuration is not used.
    """
    del config
    seconds = _seconds(latency)
    options = Options(clients=clients, visits=visits, seed=seed, latency=seconds, churn=churn)
    with tempfile.TemporaryDirectory(prefix="ycsync-demo-") as folder:
        # The server runs unprivileged: it must be able to look into its own directory below this one.
        os.chmod(folder, 0o755)
        return run(_demo(options, Path(folder)))


def _seconds(text: str) -> float:
    """A duration such as 250ms; a bare number is seconds."""
    try:
        return max(0.0, float(text))
    except ValueError:
        return parse_duration(text).total_seconds()


async def _demo(options: Options, folder: Path) -> int:
    async with Simulator(options) as simulator:
        print(
            f"a simulated salon: {options.clients} clients, {options.visits} visits, {options.latency * 1000:.0f} ms an answer"
        )
        config = folder / "config.yaml"
        config.write_text(DEMO_CONFIG.format(url=simulator.url), "utf-8")
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("YCLIENTS_", "YCSYNC_DATABASE", "CREDENTIALS_"))},
            "STATE_DIRECTORY": str(folder / "state"),
            "YCLIENTS_PARTNER_TOKEN": "demo",
            "YCLIENTS_USER_TOKEN": "demo",
        }
        (folder / "state").mkdir(mode=0o755)
        code = 0
        for arguments in (["sync"], ["status"], ["verify"]):
            print(f"\n$ ycsync {' '.join(arguments)}", flush=True)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "ycsync", *arguments, "--config", str(config), env=environ
            )
            try:
                code = await process.wait() or code
            except asyncio.CancelledError:
                process.terminate()
                await process.wait()
                raise
        print("\nWhat the simulated YCLIENTS saw:")
        print(format_report(simulator.report()))
    return code
