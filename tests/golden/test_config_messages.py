"""The messages of `ycsync config check` for mistakes in config.yaml."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from filled import call
from golden.compare import Golden

GOOD = (
    "preset: night",
    "companies:\n  - 4001\n  - {id: 4002, preset: night, user_token_env: TOKEN_4002}\n  - all",
)
MISTAKES = (
    "presett: night",
    "preset: balansed",
    "preset:",
    "preset: [balanced]",
    "preset: night\nlog: {level: info}\npreset: balanced",
    "history: bulkk",
    "yclients: {base_url: api.yclients.com}",
    "yclients: {base_url: 'http://api.yclients.com/api/v1'}",
    "yclients: {base_url: 'https://me:word@api.yclients.com'}",
    "yclients: {base_url: 'https://api.yclients.com/?x=1'}",
    "yclients: {base_url: 'https://api.yclients.com:99999/'}",
    "yclients: {per_minute: many}",
    "yclients: {per_second: 0}",
    "yclients: {per_secnd: 5}",
    "yclients: {egress: 'a b'}",
    "yclients: {local_address: 0.0.0.0}",
    "yclients: {local_address: 127.0.0.2}",
    "yclients: {timeout: 0s}",
    "yclients: {partner_token: abc}",
    "yclients: {password: abc}",
    "companies: 4001",
    "companies: [0]",
    "companies: [1.5]",
    "companies: [7, 7]",
    "companies: [{preset: night}]",
    "companies: [{id: 4001, preset: nigth}]",
    "companies: [{id: 4001, user_token_env: 'a-b'}]",
    "companies: [{id: 4001, token: abc}]",
    "companies: [4001, every]",
    "database: {url: mysql://host/salon}",
    "database: {url: 'postgresql://me:word@host/salon'}",
    "database: {schema: public}",
    "database: {schema: Salon}",
    "streams: {record: 5m}",
    "streams: {clients: 5}",
    "streams: {clients: 0s}",
    "streams: {clients: 1.5h}",
    "streams: {clients: 9999d}",
    "streams: [clients]",
    "http: {listen: 8787}",
    "http: {listen: 'localhost:70000'}",
    "http: {hosts: ['https://status.example.org']}",
    "hooks: {url: 'http://sync.example.org'}",
    "hooks: {url: 'https://sync.example.org/hooks/abc'}",
    "hooks: {url: sync.example.org}",
    "hooks: {reconcile: 2d}",
    "log: {level: Info}",
    "presets: {mine: {batch_size: 0}}",
    "presets: {mine: {batchsize: 5}}",
    "presets: {mine: {start_at: '25:00'}}",
    "presets: {off: {}}",
    "presets: {mine: 5}",
    "yclients: {per_minute: 100}\npresets:\n  mine:\n    per_minute: 101",
    "<<: {a: 1}",
    "- a",
    "a: [",
    "streams:\n\tclients: 5m",
    "preset: fast\nyclients:\n  per_minute: many\n  per_secnd: 5\ncompanies: [1, 1, x]",
)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where each file is written. No service of this machine is found from there."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    return tmp_path / "config.yaml"


def checked(config: Path, text: str) -> str:
    """Return the file, the exit code and the messages."""
    config.write_text(text + "\n", "utf-8")
    done = call(config, "config", "check")
    said = (done.stdout + done.stderr).replace(str(config.parent), "<folder>")
    return f"{textwrap.indent(text, '    ')}\n{done.exit_code}\n{said}"


def test_what_is_said_of_mistakes_in_the_configuration(config: Path, golden: Golden) -> None:
    golden("config_mistakes.txt", "\n".join(checked(config, text) for text in MISTAKES))


def test_what_is_said_of_a_good_configuration(config: Path, golden: Golden) -> None:
    golden("config_good.txt", "\n".join(checked(config, text) for text in GOOD))
