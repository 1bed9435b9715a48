"""Which salons does the file name, and what has each of its own?"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import yaml

from ycsync.config.nodes import Section, did_you_mean, integer, line_of, shown, text
from ycsync.config.settings import SalonSettings
from ycsync.errors import Problem, UsageError

ALL: Final = "all"
_KEY: Final = "companies"
_id: Final = integer(1, 2**63 - 1)
# Capital letters: what somebody takes for the place of the token itself has small ones, and would be shown by its name.
_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,99}")
_OTHERS: Final = re.compile(r"YCSYNC_.*|YCLIENTS_(PARTNER_TOKEN|LOGIN|PASSWORD)")


@dataclass(slots=True)
class _Named:
    """What was read so far."""

    lines: dict[int, int] = field(default_factory=dict)  # salon -> where it was named first
    salons: dict[int, SalonSettings] = field(default_factory=dict)
    every: bool = False


def read_companies(root: Section, presets: Collection[str]) -> tuple[tuple[int, ...], Mapping[int, SalonSettings]]:
    """The ids of `companies` (none: every salon of the user token), and the salons that have settings of their own."""
    named = _Named()
    for node in root.items(_KEY):
        try:
            if isinstance(node, yaml.MappingNode):
                _mapping(node, root, presets, named)
            elif not isinstance(node, yaml.ScalarNode):
                raise UsageError("a salon must be one number, its id, or {id: 4001, preset: night}")
            elif node.value == ALL:
                named.every = True
            elif node.value.isalpha():
                raise UsageError(
                    f"must be a whole number (a salon's id), {{id: 4001, preset: night}} or {ALL}, not {shown(node.value)}"
                )
            else:
                _add(named, _id(node), line_of(node))
        except UsageError as error:
            root.problems.append(Problem(line_of(node), _KEY, str(error)))
    companies = () if named.every else tuple(named.lines)
    return companies, MappingProxyType(named.salons)


def _add(named: _Named, company: int, line: int) -> None:
    if company in named.lines:
        raise UsageError(f"{company} is listed twice (first on line {named.lines[company]}): remove one")
    named.lines[company] = line


def _mapping(node: yaml.MappingNode, root: Section, presets: Collection[str], named: _Named) -> None:
    section = Section.of(node, _KEY, root.problems)
    company = section.value("id", 0, _id)
    if not section.has("id"):
        section.problems.append(Problem(line_of(node), _KEY, "a salon needs its id, as in {id: 4001, preset: night}"))
    preset = section.value("preset", None, lambda scalar: _preset(scalar, presets))
    variable = section.value("user_token_env", None, _variable)
    for wrong in ("user_token", "token"):
        if section.has(wrong):
            section.value(wrong, None, lambda _: None)  # read, so that it is not called unknown too
            section.report(
                wrong,
                "a token is not kept in this file (it is safe to commit): write `user_token_env: NAME`, "
                "and the token into the variable of that name, or as `NAME=TOKEN` into credentials/salon_tokens",
            )
    section.reject_unknown()
    if company:
        line = line_of(node)
        _add(named, company, line)
        named.salons[company] = SalonSettings(preset, variable, line)


def _preset(node: yaml.ScalarNode, presets: Collection[str]) -> str | None:
    name = text(node)
    if name not in presets:
        raise UsageError(f"there is no preset {shown(name)}; {did_you_mean(name, presets)}")
    return name


def _variable(node: yaml.ScalarNode) -> str | None:
    name = text(node)
    if not _VARIABLE.fullmatch(name):  # not repeated: it may be a token
        raise UsageError("must be a name of capital letters, digits and _, as in YCLIENTS_TOKEN_4001, and not the token itself")
    if _OTHERS.fullmatch(name):
        raise UsageError(f"{name} holds another secret: give the salon's token a name of its own, as in YCLIENTS_TOKEN_4001")
    return name
