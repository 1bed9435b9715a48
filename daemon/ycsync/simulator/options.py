"""What kind of YCLIENTS is simulated: its size, its speed, its limits and its faults?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Answers that carry no data, or broken data, but that a client recovers from by asking again.
# `Options.faults` draws only from these unless `Options.fault_kinds` names others, which may stop a salon or lie.
RECOVERABLE_FAULTS: tuple[str, ...] = (
    "429",
    "429-n0",
    "429-retry-after",
    "429-in-200",
    "success-false-200",
    "html-502",
    "500",
    "empty",
    "cut",
    "truncated",
    "reset",
)
# The same for a client that asks again, but rarer: proxies, mistakes of the network, other words for the same thing.
RARE_FAULTS: tuple[str, ...] = (
    "429-date", "429-html", "429-english", "503", "html-503", "html-504", "empty-502", "html-200", "html-403", "html-404",
    "204", "302", "bad-gzip", "cut-gzip", "utf-16", "json-list", "json-number", "json-string", "json-null", "json-empty",
    "data-absent", "data-null", "data-number", "data-string", "data-true", "data-object",
)  # fmt: skip
REFUSALS: tuple[str, ...] = (
    "401", "401-partner", "401-partner-english", "403", "402-licence", "403-licence", "404", "410", "400", "422",
)  # fmt: skip
SPOILED_DATA: tuple[str, ...] = (
    "duplicate-ids",
    "lying-total",
    "wrong-types",
    "nul",
    "zero-date",
    "huge-number",
    "all-twice",
    "not-objects",
    "rows-lost",
    "meta-absent",
    "meta-list",
    "total-fewer",
    "total-zero",
    "total-null",
    "total-text",
    "total-negative",
    "total-huge",
    "bom",
    "cp1251",
)
NARROW = 30  # days before and after today, see Options.undated
FAULTS: tuple[str, ...] = (*RECOVERABLE_FAULTS, *RARE_FAULTS, "hang", *REFUSALS, *SPOILED_DATA)


@dataclass(frozen=True, slots=True)
class Options:
    """Sizes are per salon; times are seconds; 0 means unlimited in `per_second` and `per_minute`, each address's.

    visits           records (lines of the appointment book), cancelled and future ones included
    latency, jitter  how long each answer takes, and how much it varies; a request is counted on arrival
    faults           share of answers that are broken, drawn from `fault_kinds`
    churn            changes made in the salon after every answered request
    deleted          share of records that are cancelled at the start
    tie_order        order among records of one session date and time: "random" anew for each request, by
                     "id", or "day": the whole day is in random order
    changed_zone     how a `changed_after` without an offset is read: "local" (the salon's zone) or "utc"
    zone             the IANA zone of every salon, one without summer time; None: those of a few cities
    zone_told        how a salon tells it: "name", or without a name "hours" (5.5), "offset" (+05:30), "words", or not at all
    odd              odd types: ids and money as strings, 0/1 for booleans, [] for {}, offsets without colon
    empty_as_404     an empty list is answered as 404
    empty_as_200     an empty list is answered with 200 and `success: false`
    refused          endpoints, by their names, that the user of the token has no right to; each salon's `refuses`
    refused_as       in which words: those of a "right", or of the whole "salon"
    second_paths     GET /staff/{c} and GET /services/{c} are there
    wrong_login      POST /auth refuses every password, with this status
    two_factor       POST /auth answers 200 with a second step instead of a token
    changed_ignored  changed_after and changed_before filter nothing
    ledger_cap       rows a page of goods, goods operations and payments; who asks for more gets 25
    schedule_days    so many days of a schedule may be asked for at once; more is refused
    schedule_names   each day of a schedule says whose it is
    hook_delay       seconds from a change to its webhook, where the salon's settings name an address of this machine
    hook_loss        share of webhooks that are never sent
    hook_double      share of webhooks that are sent twice
    goods            whose `goods_transactions` are: "visit": each record of a visit repeats the whole visit's, or "record"
    bill             where payments are listed: at the "record" that they are for, or all of a "visit" at its first record;
                     then `paid_full` is the whole visit's
    memberships      share of the paid records that a membership pays: nothing is to be paid in money
    fired_listed     the list of staff holds those who were fired; False: they are named by records only
    undated          which lists answer NARROW days around today where a date is missing: "narrow" records, "narrow-lists"
                     goods operations and payments too, "all" none of them
    limit_by         whose requests share one limit: those from one "address", or with one partner "token"
    minute           the minute's window: "sliding", or "fixed" from its first request on
    rate_headers     answers say X-RateLimit-Limit, -Remaining and -Reset, of the minute, as it is when a request arrives
    others           requests a minute that other clients send, evenly, out of each address's (or token's) limit
    deleted_as_404   GET /record of a visit that is gone from every list is 404, not 200 with `deleted: true`
    count_refused    a page of more rows than this is refused with the status `refuse_with`, 400 or 422; 0: none is
    """

    host: str = "127.0.0.1"
    port: int = 0
    salons: int = 1
    clients: int = 100
    visits: int = 1200
    seed: int = 1
    latency: float = 0.0
    jitter: float = 0.0
    faults: float = 0.0
    churn: int = 0
    per_second: int = 5
    per_minute: int = 200
    records_cap: int = 1000
    clients_cap: int = 300
    search_cap: int = 200
    deleted: float = 0.05
    tie_order: Literal["random", "id", "day"] = "random"
    direction: Literal["asc", "desc"] = "desc"
    partner_token: str | None = None
    user_token: str | None = None
    first_company: int = 4001
    odd: bool = True
    answer_429_as_200: bool = False
    changed_zone: Literal["local", "utc"] = "local"
    zone: str | None = None
    zone_told: Literal["name", "hours", "offset", "words", "none"] = "name"
    changed_inclusive: bool = True
    empty_as_404: bool = False
    empty_as_200: bool = False
    refused: tuple[str, ...] = ()
    refused_as: Literal["right", "salon"] = "right"
    second_paths: bool = True
    wrong_login: Literal["", "200", "401"] = ""
    two_factor: bool = False
    fault_kinds: tuple[str, ...] = RECOVERABLE_FAULTS
    changed_ignored: bool = False
    count_refused: int = 0
    refuse_with: Literal[400, 422] = 422
    goods: Literal["visit", "record"] = "visit"
    bill: Literal["record", "visit"] = "record"
    memberships: float = 0.04
    fired_listed: bool = False
    ledger_cap: int = 100
    schedule_days: int = 366
    schedule_names: bool = True
    deleted_as_404: bool = False
    hook_delay: float = 5.0
    hook_loss: float = 0.0
    hook_double: float = 0.0
    undated: Literal["narrow", "narrow-lists", "all"] = "narrow"
    limit_by: Literal["address", "token"] = "address"
    minute: Literal["sliding", "fixed"] = "sliding"
    rate_headers: bool = True
    others: int = 0
