"""The service itself under a real systemd: start, status, good and bad reload, stop in the middle, and its journal."""

from __future__ import annotations

import json
import time

import pytest

from systemd.machine import HOME, Machine

pytestmark = [pytest.mark.systemd, pytest.mark.xdist_group("systemd")]

SIMULATOR = f"""[Service]
Type=exec
ExecStart={HOME}/venv/bin/ycsync simulate --port 8788 --clients 900 --visits 9000 --latency 250ms --records-cap 300
"""
CONFIG = """\
preset: aggressive
yclients:
  base_url: http://127.0.0.1:8788/api/v1
database:
  url: embedded
"""


@pytest.fixture
def salon(machine: Machine) -> Machine:
    machine.write("/etc/systemd/system/simulator.service", SIMULATOR)
    machine.write("/etc/ycsync/config.yaml", CONFIG)
    for secret in ("yclients_partner_token", "yclients_user_token"):
        machine.write(f"/etc/ycsync/credentials/{secret}", "synthetic\n", 0o600)
    machine.boot()
    machine.systemctl("start", "simulator")
    return machine


def until_status(machine: Machine, text: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while text not in machine.show("StatusText"):
        assert time.monotonic() < deadline, (text, machine.show("StatusText"), machine.journal())
        time.sleep(0.2)


def test_start_reload_and_stop_in_the_middle(salon: Machine) -> None:
    salon.systemctl("start", "ycsync")
    assert salon.show("ActiveState") == "active"
    until_status(salon, "filling")

    salon.write("/etc/ycsync/config.yaml", CONFIG.replace("aggressive", "balanced"))
    salon.systemctl("reload", "ycsync")
    assert "config.reloaded" in salon.journal()

    salon.write("/etc/ycsync/config.yaml", CONFIG.replace("aggressive", "frantic"))
    assert salon.systemctl("reload", "ycsync", check=False).returncode != 0
    assert salon.show("ActiveState") == "active"

    begun = time.monotonic()
    salon.systemctl("stop", "ycsync")
    assert time.monotonic() - begun < 2.5
    assert salon.show("Result") == "success"
    assert salon.run("pgrep", "-x", "postgres", check=False).stdout == ""
    journal = salon.journal()
    assert "service.stopped" in journal
    assert "synthetic" not in journal
    lines = [json.loads(line) for line in salon.journal(output="json").splitlines() if line.startswith("{")]
    priorities = {line["MESSAGE"].split(" ")[0]: line["PRIORITY"] for line in lines if "event=" in line["MESSAGE"]}
    assert priorities["event=service.ready"] == "6"
    assert "3" not in priorities.values()


def test_a_started_service_completes_the_salon_and_survives_a_kill(salon: Machine) -> None:
    salon.systemctl("start", "ycsync")
    until_status(salon, "filling")
    salon.systemctl("kill", "--kill-whom=main", "--signal=KILL", "ycsync")
    salon.wait_for("NRestarts", "1")
    until_status(salon, "1 salons, 1 complete")
    shown = salon.run(f"{HOME}/venv/bin/ycsync", "status", check=False).stdout
    assert "complete and fresh" in shown, shown
    salon.systemctl("stop", "simulator")
    counted = salon.journal("simulator")
    assert "429" not in counted.rsplit("answers", 1)[-1].splitlines()[0], counted
