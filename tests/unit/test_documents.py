"""Does every command of ycsync that the documents name exist, with these options?"""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer

from support.documents import CHECKOUT, DOCUMENTS, fenced, inline
from ycsync.cli.app import app

SHOWN = [command for command, _ in fenced()] + inline()
LINKED = (
    "docs/api.md",
    "docs/data-model.md",
    "docs/decisions.md",
    "docs/promises.md",
    "docs/scale.md",
    "deploy/supabase/README.md",
)
OURS = sorted({command for command in SHOWN if command.startswith("ycsync ")})


def test_documents_show_commands() -> None:
    assert len(OURS) > 30


@pytest.mark.parametrize("shown", OURS)
def test_a_command_that_is_shown_exists_with_its_options(shown: str) -> None:
    words = shlex.split(shown)[1:]
    command: Any = typer.main.get_command(app)
    while words and not words[0].startswith("-") and hasattr(command, "commands"):
        assert words[0] in command.commands, f"{shown}: no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
    for word in words:
        assert not word.startswith("-") or word in known, f"{shown}: no option {word}"


@pytest.mark.parametrize("document", [*DOCUMENTS, *LINKED])
def test_a_link_leads_somewhere(document: str) -> None:
    path = CHECKOUT / document
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert missing == []
