"""How does a test get a machine on which an administrator ran deploy/install, with a simulated YCLIENTS beside it?"""

from __future__ import annotations

import json
import time
from typing import Any

from systemd.machine import Machine

CLIENTS = 600
SALON = f"--clients {CLIENTS} --visits 2400 --latency 250ms --records-cap 300"
LARGE_SALON = f"--clients {CLIENTS} --visits 9000 --latency 250ms --records-cap 300"
SMALL_SALON = "--clients 150 --visits 900 --latency 20ms"
COMPLETE = "1 salon, 1 complete"
# Started is what listens: whoever starts it asks it at once.
SIMULATOR = """[Service]
Type=exec
ExecStart=/opt/ycsync/venv/bin/ycsync simulate --port 8788 --user-token {token} {salon}
ExecStartPost=/bin/bash -c "until (: </dev/tcp/127.0.0.1/8788) 2>/dev/null; do sleep 0.1; done"
TimeoutStartSec=60
"""
ASK = """\
import json, sys, urllib.error, urllib.request
path, body, token = sys.argv[1:]
headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
request = urllib.request.Request(f"http://127.0.0.1:8787{path}", body.encode() or None, headers)
try:
    answer = urllib.request.urlopen(request, timeout=30)
except urllib.error.HTTPError as exc:
    answer = exc
print(json.dumps({"status": answer.status, "body": json.load(answer)}))
"""
TOKENS = {"yclients_partner_token": "synthetic-partner", "yclients_user_token": "synthetic-user"}
CONFIG = "/etc/ycsync/config.yaml"
SLOW_S = 90.0  # a busy machine


class Installed:
    """The machine, and what an administrator does on it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.run = machine.run
        self.systemctl = machine.systemctl
        self.show = machine.show

    def simulate(self, *, token: str = TOKENS["yclients_user_token"], salon: str = SALON) -> None:
        """YCLIENTS begins anew, with the same salon; it accepts this user token only."""
        self.machine.write("/etc/systemd/system/simulator.service", SIMULATOR.format(token=token, salon=salon))
        self.systemctl("daemon-reload")
        self.systemctl("restart", "simulator")

    def give_tokens(self, **tokens: str) -> None:
        """What the README says: one file a secret."""
        for name, token in {**TOKENS, **tokens}.items():
            self.machine.write(f"/etc/ycsync/credentials/{name}", f"{token}\n", 0o600)

    def edit(self, old: str, new: str) -> None:
        """Change the configuration, as an editor would."""
        text = self.run("cat", CONFIG).stdout
        assert old in text, (old, text)
        self.machine.write(CONFIG, text.replace(old, new))

    def point_at_simulator(self) -> None:
        """And be quick: a batch follows at once."""
        self.edit("base_url: https://api.yclients.com/api/v1", "base_url: http://127.0.0.1:8788/api/v1")
        self.run("ycsync", "preset", "use", "aggressive")
        self.edit("interval: 10m", "interval: 1s")

    def begin(self, **simulator: str) -> None:
        """An empty database, a salon, and the service begins to fill."""
        self.systemctl("stop", "ycsync", "simulator", check=False)
        self.systemctl("reset-failed", check=False)
        self.systemctl("clean", "--what=state", "ycsync", check=False)
        self.simulate(**simulator)
        self.systemctl("start", "ycsync")

    def until_status(self, text: str) -> None:
        """systemctl status says this."""
        deadline = time.monotonic() + SLOW_S
        while text not in self.show("StatusText"):
            assert time.monotonic() < deadline, (text, self.show("StatusText"), self.machine.journal())
            time.sleep(0.1)

    def until_done(self, least: int) -> int:
        """So many client cards are in the database: how many."""
        deadline = time.monotonic() + SLOW_S
        while (done := self.done()) < least:
            assert time.monotonic() < deadline, (done, self.machine.journal())
            time.sleep(0.1)
        return done

    def until_complete(self) -> None:
        """It says so itself; and the pass is whole."""
        self.until_status(COMPLETE)
        assert self.done() == CLIENTS

    def status(self) -> dict[str, Any]:
        """`ycsync status --json`."""
        found: dict[str, Any] = json.loads(self.run("ycsync", "status", "--json", check=False).stdout)
        return found

    def done(self) -> int:
        """Client cards in the database."""
        said = self.run("ycsync", "status", "--json", check=False).stdout
        streams = json.loads(said)["streams"] if said else []
        return sum(one["done"] for one in streams if one["stream"] == "clients")

    def ask(self, path: str, body: object = None, token: str = "") -> tuple[int, dict[str, Any]]:
        """What the service itself answers over HTTP; with a body it is POST."""
        given = [path, "" if body is None else json.dumps(body), token]
        said = json.loads(self.run("/opt/ycsync/venv/bin/python", "-c", ASK, *given).stdout)
        return said["status"], said["body"]

    def release(self, name: str) -> str:
        """The folder of the release that is the one in use (`venv`) or the one before it (`previous`)."""
        return self.run("readlink", f"/opt/ycsync/{name}").stdout.strip()

    def journal_entries(self) -> list[dict[str, str]]:
        """What the service itself said in the journal."""
        lines = self.machine.journal(output="json").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]
