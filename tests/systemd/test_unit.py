"""Does the unit do what it says under a real systemd: start, reload, stop, restart, secrets, PostgreSQL?

A small service stands in for the command, so that what is tested is the unit and nothing else.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from systemd.machine import CHECKOUT, HOME, Machine

pytestmark = [pytest.mark.systemd, pytest.mark.xdist_group("systemd-upgrade")]

UNIT = CHECKOUT / "systemd" / "ycsync.service"

# run: ready with a database, secrets told by length, SIGHUP takes the file over. reload: checks it first.
STAND_IN = f"""#!{HOME}/venv/bin/python
import asyncio, os, signal, socket, sys
from pathlib import Path
import asyncpg
from ycsync.store.embedded import EmbeddedPostgres
config, live = Path(sys.argv[3]), Path(os.environ["RUNTIME_DIRECTORY"]) / "live"
def notify(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1)); s.send(text.encode())
async def version(dsn):
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS starts (at timestamptz DEFAULT now())")
        await connection.execute("INSERT INTO starts DEFAULT VALUES")
        return await connection.fetchval("SELECT count(*) FROM starts")
    finally:
        await connection.close()
if sys.argv[1] == "reload":
    if "bad" in config.read_text():
        sys.exit("line 1: bad")
    os.kill(int(os.environ["MAINPID"]), signal.SIGHUP)
    sys.exit(0)
if "bad" in config.read_text():
    sys.exit(2)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGTERM])
server = EmbeddedPostgres()
starts = asyncio.run(version(server.start()))
for file in sorted(Path(os.environ["CREDENTIALS_DIRECTORY"]).iterdir()):
    print("<6>secret", file.name, len(file.read_text().strip()), flush=True)
notify(f"READY=1\\nSTATUS=start {{starts}}")
while signal.sigwait([signal.SIGHUP, signal.SIGTERM]) == signal.SIGHUP:
    notify("STATUS=" + config.read_text().strip())
print("<4>stopping", flush=True)
server.stop()
"""


@pytest.fixture
def stand_in(machine: Machine) -> Machine:
    machine.write(f"{HOME}/venv/bin/ycsync", STAND_IN, 0o755)
    machine.write("/etc/ycsync/config.yaml", "first\n")
    machine.write("/etc/ycsync/credentials/yclients_user_token", "synthetic\n", 0o600)
    machine.boot()
    return machine


def test_start_reload_stop(stand_in: Machine) -> None:
    stand_in.systemctl("start", "ycsync")
    assert stand_in.show("ActiveState") == "active"
    assert stand_in.show("StatusText") == "start 1"
    stand_in.write("/etc/ycsync/config.yaml", "second\n")
    stand_in.systemctl("reload", "ycsync")
    stand_in.wait_for("StatusText", "second")
    stand_in.write("/etc/ycsync/config.yaml", "bad\n")
    assert stand_in.systemctl("reload", "ycsync", check=False).returncode != 0
    assert stand_in.show("ActiveState") == "active"
    assert stand_in.show("StatusText") == "second"
    stand_in.systemctl("stop", "ycsync")
    assert stand_in.show("Result") == "success"
    assert stand_in.run("pgrep", "-x", "postgres", check=False).stdout == ""
    journal = stand_in.journal()
    assert "secret yclients_user_token 9" in journal
    # Files that are not there are no obstacle: it is the command that says what is missing.
    assert "secret yclients_partner_token 0" in journal
    assert "secret database_url 0" in journal
    assert '"PRIORITY":"4"' in stand_in.journal(output="json").replace(" ", "")


def test_a_killed_service_comes_back_with_its_data(stand_in: Machine) -> None:
    stand_in.systemctl("start", "ycsync")
    stand_in.systemctl("kill", "--kill-whom=main", "--signal=KILL", "ycsync")
    stand_in.wait_for("StatusText", "start 2")
    assert stand_in.show("NRestarts") == "1"
    stand_in.systemctl("stop", "ycsync")


def test_a_bad_configuration_is_not_tried_again(stand_in: Machine) -> None:
    stand_in.write("/etc/ycsync/config.yaml", "bad\n")
    assert stand_in.systemctl("start", "ycsync", check=False).returncode != 0
    stand_in.wait_for("ActiveState", "failed")
    assert stand_in.show("ExecMainStatus") == "2"
    assert stand_in.show("NRestarts") == "0"


def test_root_uses_the_database_of_the_service(stand_in: Machine) -> None:
    code = (
        "from ycsync.store.embedded import EmbeddedPostgres\n"
        "server = EmbeddedPostgres()\n"
        "server.start(); print(server.owner); server.stop()"
    )
    stand_in.systemctl("start", "ycsync")
    assert stand_in.run(f"{HOME}/venv/bin/python", "-c", code).stdout == "False\n"
    stand_in.systemctl("stop", "ycsync")
    assert stand_in.run(f"{HOME}/venv/bin/python", "-c", code).stdout == "True\n"
    stand_in.systemctl("start", "ycsync")
    assert stand_in.show("StatusText") == "start 2"


def test_the_unit_has_no_key_that_systemd_does_not_know(machine: Machine) -> None:
    machine.boot()
    unit = "/etc/systemd/system/ycsync.service"
    assert machine.run("systemd-analyze", "verify", unit).stderr == ""


def test_the_unit_is_exposed_no_more_than_it_must() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    level = re.search(r"Overall exposure level for ycsync.service: ([\d.]+)", said)
    assert level is not None, said
    assert float(level[1]) <= 1.2
