"""Does a stranger get from a bare machine to a running service and back, and does it bear what happens to services?

One machine, one life: installed from the checkout, used, frozen, starved, upgraded, taken back, and removed.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

import pytest

from support import documents
from systemd.installed import COMPLETE, CONFIG, LARGE_SALON, SMALL_SALON, TOKENS, Installed
from systemd.machine import CHECKOUT, HOME, Machine

pytestmark = [
    pytest.mark.systemd,
    pytest.mark.installed,
    pytest.mark.xdist_group("systemd"),
    pytest.mark.timeout(400),
]

# Everything of a machine's disk that could hold something of ours.
FILES = "find / -xdev ( -path /proc -o -path /sys -o -path /dev -o -path /run/share -o -path /root ) -prune -o -print"
# What the system itself writes while it runs.
OF_SYSTEMD = (
    "/var/log/journal",
    "/run/systemd",
    "/run/log",
    "/run/udev",
    "/var/lib/systemd",
    "/tmp/systemd-private",
    "/var/tmp/",
)
LEAK = """\
import sys, threading, time
from pathlib import Path
def leak():
    while not Path("/run/ycsync/leak").exists(): time.sleep(0.05)
    Path("/run/ycsync/leak").unlink()
    hoard = []
    while True: hoard.append(bytearray(b"x" * 1_000_000))
threading.Thread(target=leak, daemon=True).start()
from ycsync.cli import main
main()
"""
# Commands of the documents that go on until they are stopped or until their time has come.
ENDLESS = {
    "ycsync status --watch", "ycsync status --watch --json", "journalctl -u ycsync -f", "ycsync sync --start-at 22:00",
    "ycsync sync --preset night",
}  # fmt: skip
APT_GET = "/usr/local/sbin/apt-get"
ADMIN = "synthetic-admin-token"
ON_A_TERMINAL = {"systemctl edit ycsync"}
# No network there, and nobody who types into an editor.
SURROUNDINGS = ("env", "PIP_NO_INDEX=1", "PIP_FIND_LINKS=/root/wheels", "SYSTEMD_EDITOR=true")
# Those that other tests run: this file's, the whole suite, and what is its own.
ELSEWHERE = {
    "./deploy/install", "deploy/install", "deploy/install --back", "deploy/uninstall", "deploy/uninstall --purge",
    "./deploy/test", "./deploy/test --soak", "ycsync db move",
}  # fmt: skip


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("bare") / "machine")
    machine.bring_checkout()
    machine.boot()
    yield machine
    machine.stop()


@pytest.fixture(scope="module")
def before(bare: Machine) -> set[str]:
    """The files of the machine before anything was installed."""
    return files(bare)


@pytest.fixture(scope="module")
def first_words(bare: Machine, before: set[str]) -> str:
    """What deploy/install said, on a machine whose Python had to come from its packages, and was not among the first."""
    python = bare.run("readlink", "-f", "/usr/bin/python3").stdout.strip()
    bare.run("mv", python, f"{python}.away")
    bare.write(APT_GET, f'#!/bin/sh\ncase "$*" in *" python3.11 "*) mv {python}.away {python} ;; esac\n', 0o755)
    said = bare.install("--wheels", "/root/wheels").stderr
    bare.run("rm", APT_GET)
    return said


@pytest.fixture(scope="module")
def machine(bare: Machine, first_words: str) -> Installed:
    """Installed, configured for the simulator, with tokens."""
    installed = Installed(bare)
    installed.give_tokens()
    installed.point_at_simulator()
    return installed


def files(machine: Machine) -> set[str]:
    found = machine.run(*FILES.split(" ")).stdout.splitlines()
    return {path for path in found if not path.startswith(OF_SYSTEMD)}


def left_over(machine: Machine, before: set[str]) -> set[str]:
    """The files that the machine made and still has. Under its disk lies this one's, where others write meanwhile: what is
    here too, or gone a moment later, is theirs.
    """
    found = files(machine) - before
    return {path for path in found & files(machine) if not os.path.lexists(path)}


def drop_in(machine: Installed, name: str, text: str) -> None:
    """A setting of the administrator's own, for this boot."""
    machine.machine.write(f"/run/systemd/system/ycsync.service.d/{name}.conf", f"[Service]\n{text}\n")
    machine.systemctl("daemon-reload")


def test_what_cannot_be_installed_is_refused_with_a_remedy_and_leaves_nothing(bare: Machine, before: set[str]) -> None:
    nowhere = bare.install("--wheels", "/nowhere", check=False)
    assert "There are no packages (*.whl) in /nowhere." in nowhere.stderr
    assert "pip download" in nowhere.stderr
    assert "no such option: --wheel\n" in bare.install("--wheel", check=False).stderr
    assert "There is no earlier release to go back to" in bare.install("--back", check=False).stderr
    assert not bare.run("ls", f"{HOME}/releases").stdout
    bare.run("/root/ycsync/deploy/uninstall")
    assert left_over(bare, before) == set()


def test_one_command_installs_and_says_what_is_left_to_do(bare: Machine, first_words: str) -> None:
    assert "installing python3-venv (apt-get)" in first_words
    assert "installing python3.11 python3.11-venv (apt-get)" in first_words
    assert "ycsync 0.1.0 is installed" in first_words
    assert "/etc/ycsync/credentials/yclients_user_token" in first_words
    assert "systemctl start ycsync" in first_words
    # It ends with what `ycsync doctor` says.
    assert "FAIL  secrets   no partner token" in first_words
    assert "Write it into /etc/ycsync/credentials/yclients_partner_token" in first_words
    assert bare.run("ycsync", "--version").stdout == "ycsync 0.1.0\n"
    assert bare.run("cat", CONFIG).stdout == (CHECKOUT / "config.yaml").read_text()
    assert bare.run("stat", "-c", "%a %U", "/etc/ycsync/credentials").stdout == "700 root\n"
    modes = bare.run("find", "/etc/ycsync/credentials", "-type", "f", "-printf", "%m\\n").stdout.split()
    assert set(modes) == {"600"}
    assert bare.show("UnitFileState") == "enabled"


def test_a_c_library_that_does_not_know_the_services_user_is_named_by_the_doctor(bare: Machine, first_words: str) -> None:
    """As on a bare Debian 13, where the package libnss-systemd is not there."""
    known = bare.run("cat", "/etc/nsswitch.conf").stdout
    assert "libnss-systemd" not in bare.run("ycsync", "doctor", check=False).stdout
    bare.write("/etc/nsswitch.conf", known.replace("systemd", ""))
    said = bare.run("ycsync", "doctor", check=False).stdout
    bare.write("/etc/nsswitch.conf", known)
    assert "apt-get install libnss-systemd" in said


def test_without_tokens_it_does_not_start_and_says_which_file_to_fill(bare: Machine, first_words: str) -> None:
    assert bare.systemctl("start", "ycsync", check=False).returncode != 0
    assert bare.show("NRestarts") == "0"
    assert "yclients_partner_token" in bare.journal()


def test_it_fills_reloads_and_stops_in_the_middle_of_a_page(machine: Installed) -> None:
    machine.begin()
    assert machine.show("ActiveState") == "active"
    machine.until_status("filling")
    machine.run("ycsync", "preset", "use", "balanced")  # which reloads the service
    machine.systemctl("reload", "ycsync")
    assert machine.status()["services"][0]["preset"] == "balanced"

    machine.edit("preset: balanced", "preset: frantic")
    refused = machine.systemctl("reload", "ycsync", check=False)
    assert refused.returncode != 0
    assert machine.show("ActiveState") == "active"
    assert "last reload refused" in machine.show("StatusText")
    assert machine.machine.journal().count("event=config.rejected") == 1
    assert "frantic" in machine.machine.journal()
    doctor = machine.run("ycsync", "doctor", check=False)
    assert doctor.returncode == 1
    assert "frantic" in doctor.stdout
    assert "the last reload was refused, the old settings hold" in doctor.stdout
    machine.edit("preset: frantic", "preset: aggressive")
    machine.systemctl("reload", "ycsync")

    machine.begin(salon=LARGE_SALON)
    machine.until_done(1)
    machine.systemctl("stop", "ycsync")
    assert machine.show("Result") == "success"
    assert machine.run("pgrep", "-x", "postgres", check=False).stdout == ""
    entries = machine.journal_entries()
    priority = {entry["MESSAGE"].split(" ")[0]: entry["PRIORITY"] for entry in entries if "event=" in entry["MESSAGE"]}
    assert priority["event=service.ready"] == "6"
    assert priority["event=config.rejected"] == "3"
    assert priority["event=service.stopped"] == "6"
    assert not any(token in machine.machine.journal() for token in TOKENS.values())
    # Each value is a field of its own, and all of it is known to be the unit's, down to the last word.
    fields = [entry for entry in entries if "YCSYNC_EVENT" in entry]
    assert fields[-1]["YCSYNC_EVENT"] == "service.stopped"
    assert float(fields[-1]["YCSYNC_DURATION_S"]) < 2.0, "as it measures it itself"
    assert {entry["_SYSTEMD_UNIT"] for entry in fields} == {"ycsync.service"}
    stopping = next(entry for entry in reversed(fields) if entry["YCSYNC_EVENT"] == "service.stopping")
    assert int(stopping["YCSYNC_IN_FLIGHT"]) >= 1  # it was in the middle
    batch = next(entry for entry in reversed(fields) if entry["YCSYNC_EVENT"] == "batch.committed")
    assert {"YCSYNC_COMPANY", "YCSYNC_STREAM", "YCSYNC_ROWS", "YCSYNC_REQUESTS", "YCSYNC_DURATION_S"} <= batch.keys()
    assert "event=config.rejected" in machine.run("journalctl", "-u", "ycsync", "-p", "warning", "-q").stdout

    machine.systemctl("start", "ycsync")
    machine.until_complete()
    assert machine.run("ycsync", "verify").stdout.count("PASS") == 6
    machine.systemctl("stop", "simulator")
    counted = machine.machine.journal("simulator")
    assert "429" not in counted.rsplit("answers", 1)[-1].splitlines()[0], counted


def test_a_doctor_before_the_first_start_and_the_start_right_after_it_stay_below_the_limit(machine: Installed) -> None:
    machine.systemctl("stop", "ycsync", "simulator", check=False)
    machine.systemctl("reset-failed", check=False)
    machine.systemctl("clean", "--what=state", "ycsync")
    machine.simulate()
    assert "every stream of 1 of 1 salons may be read" in machine.run("ycsync", "doctor").stdout
    machine.systemctl("start", "ycsync")
    machine.until_complete()
    machine.systemctl("stop", "simulator")
    counted = machine.machine.journal("simulator").rsplit("answers", 1)[-1].splitlines()[0]
    assert "429" not in counted, counted


def test_a_killed_service_goes_on_where_it_was(machine: Installed) -> None:
    machine.begin()
    done = machine.until_done(300)
    machine.systemctl("kill", "--kill-whom=main", "--signal=KILL", "ycsync")
    machine.machine.wait_for("NRestarts", "1")
    assert machine.until_done(1) >= done
    machine.until_complete()


def test_a_frozen_loop_is_ended_by_the_watchdog_and_starts_again(machine: Installed) -> None:
    drop_in(machine, "watchdog", "WatchdogSec=3")
    machine.begin()
    done = machine.until_done(300)
    machine.systemctl("kill", "--kill-whom=main", "--signal=STOP", "ycsync")
    machine.machine.wait_for("NRestarts", "1")
    assert "Watchdog timeout" in machine.machine.journal()
    assert machine.until_done(1) >= done
    machine.until_complete()
    machine.run("rm", "/run/systemd/system/ycsync.service.d/watchdog.conf")


def test_a_service_that_eats_its_memory_is_ended_alone_and_starts_again(machine: Installed) -> None:
    machine.machine.write(f"{HOME}/leak.py", LEAK)
    start = f"ExecStart=\nExecStart={HOME}/venv/bin/python {HOME}/leak.py run --config {CONFIG}"
    drop_in(machine, "leak", f"{start}\nMemoryMax=200M")
    machine.begin()
    done = machine.until_done(300)
    machine.run("touch", "/run/ycsync/leak")
    machine.machine.wait_for("NRestarts", "1")
    assert "KILL" in machine.machine.journal() or "oom-kill" in machine.machine.journal()
    assert machine.until_done(1) >= done
    machine.until_complete()
    machine.run("rm", "/run/systemd/system/ycsync.service.d/leak.conf", f"{HOME}/leak.py")
    machine.systemctl("daemon-reload")


def test_a_new_token_costs_a_restart_and_no_work(machine: Installed) -> None:
    machine.begin()
    begun = time.monotonic()
    done = machine.until_done(300)
    machine.simulate(token="synthetic-other")
    machine.until_status("1 stopped")
    assert any("token" in (one["error"] or "") for one in machine.status()["streams"])
    assert "the user token is not accepted" in machine.run("ycsync", "doctor", check=False).stdout
    time.sleep(max(0.0, 2.0 - (time.monotonic() - begun)))  # files have their time to the second
    assert machine.ask("/api/pause", {"company": 0}, "a-token-of-nobody")[0] == 403  # there is no admin token
    own, line = "companies: [{id: 4001, user_token_env: TOKEN_OF_4001}]", "TOKEN_OF_4001=synthetic-other"
    machine.edit("companies: []", own)  # the unit hands the file of salons' own tokens to the service, or it would not start
    machine.give_tokens(yclients_user_token="synthetic-other", admin_token=ADMIN, salon_tokens=line)
    assert "the running service has older ones: " in machine.run("ycsync", "doctor").stdout
    machine.systemctl("restart", "ycsync")
    assert machine.until_done(1) >= done
    machine.until_complete()
    doctor = machine.run("ycsync", "doctor").stdout
    assert "Nothing is wrong." in doctor, doctor

    # The page, too, changes the preset; the unit may not write the file, and it says what that means.
    assert machine.ask("/api/preset", {"preset": "night"}, "a-token-of-nobody")[0] == 401
    code, told = machine.ask("/api/preset", {"preset": "night"}, ADMIN)
    assert (code, "until the next reload or restart" in told["said"]) == (200, True), told
    assert machine.status()["services"][0]["preset"] == "night"
    assert "preset: aggressive" in machine.run("cat", CONFIG).stdout
    machine.systemctl("reload", "ycsync")
    assert machine.status()["services"][0]["preset"] == "aggressive"
    assert ADMIN not in machine.machine.journal()
    machine.edit(own, "companies: []")
    machine.give_tokens(admin_token="", salon_tokens="")


def test_every_command_of_the_documents_does_what_it_shows(machine: Installed) -> None:
    kept = machine.run("cat", CONFIG).stdout
    # Here the commands are tried and not the pace.
    machine.edit("per_minute: 200\n", "per_minute: 3000\n")
    machine.edit("per_second: 5\n", "per_second: 50\n")
    quick = "per_minute: 3000, per_second: 50, min_delay: 0ms"
    machine.machine.write(
        CONFIG, re.sub(r"per_minute: \d+, per_second: \d+, min_delay: \d+ms", quick, machine.run("cat", CONFIG).stdout)
    )
    machine.begin(salon=f"{SMALL_SALON} --per-minute 0 --per-second 0")
    machine.until_status(COMPLETE)
    shown = dict(documents.fenced())
    shown |= {command: command in ENDLESS for command in documents.inline() if command not in shown}
    for command, endless in shown.items():
        if command in ELSEWHERE or documents.has_placeholder(command):
            continue
        if "start ycsync" not in command:
            machine.systemctl("start", "ycsync")
        limit = ["timeout", "--preserve-status", "--signal=INT", "3"] if endless else []
        line = f"cd /root/ycsync && {command}"
        if command in ON_A_TERMINAL:
            line = f"cd /root/ycsync && script -qec '{command}' /dev/null"
        begun = time.monotonic()
        done = machine.run(*SURROUNDINGS, *limit, "sh", "-c", line, check=False, timeout_s=120)
        ended = {0, 130} if endless else {0}
        assert done.returncode in ended, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        print(f"{time.monotonic() - begun:5.1f} s  {command}")
        if "conservative" in command:
            machine.run("ycsync", "preset", "use", "aggressive")  # the rest need not be that slow
    machine.machine.write(CONFIG, kept)


def test_uninstalling_keeps_what_is_yours_until_it_is_purged(machine: Installed, before: set[str]) -> None:
    machine.begin()
    machine.until_done(300)
    kept = machine.run("/root/ycsync/deploy/uninstall").stdout
    assert "/etc/ycsync" in kept
    assert "/var/lib/private/ycsync" in kept
    assert machine.run("cat", "/etc/ycsync/credentials/yclients_user_token").stdout == "synthetic-user\n"
    assert machine.systemctl("cat", "ycsync", check=False).returncode != 0
    assert machine.run("pgrep", "-f", "ycsync run", check=False).stdout == ""

    # An environment that was made by hand, where the unit looks, is kept as the release before.
    machine.run("mkdir", "-p", f"{HOME}/venv/bin")
    machine.machine.install("--wheels", "/root/wheels")
    assert machine.release("previous") == "releases/by-hand"
    assert machine.systemctl("start", "ycsync").returncode == 0
    assert machine.until_done(1) >= 300
    machine.systemctl("stop", "simulator")
    machine.run("rm", "/etc/systemd/system/simulator.service")
    machine.run("/root/ycsync/deploy/uninstall", "--purge")
    assert left_over(machine.machine, before) == set()
