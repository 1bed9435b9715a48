"""What is read of a webhook, what is written into a salon's setting, and when are changes looked for all the same?"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ycsync.config import STREAMS, parse_settings
from ycsync.errors import ConfigError, UsageError
from ycsync.model import Ended, Hint, NotAHook, one_of_each, parse_hooks
from ycsync.model.hooks import SINGLE
from ycsync.plan import reconcile
from ycsync.service import subscribe
from ycsync.service.hooks import ALL
from ycsync.service.subscribe import Address
from ycsync.sync.hooks import LISTS

ADDRESS = Address("https://sync.example.org", "s" * 20)
FLAGS = subscribe.flags_for(STREAMS)
KEYS = ("company_id", "resource", "resource_id", "status", "data", "salon_id", "event", "partner_token", "x")
ODD = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
ODD |= st.sampled_from(["client", "Record", "goods_operations_sale", "delete", "uninstall", "4001", 4001, 2**63, "2.0", "0"])
OBJECT = st.dictionaries(st.sampled_from(KEYS), ODD | st.lists(ODD, max_size=2) | st.dictionaries(st.text(), ODD, max_size=2))


@given(
    st.binary(max_size=200) | (OBJECT | st.lists(OBJECT | ODD, max_size=4) | ODD).map(lambda value: json.dumps(value).encode())
)
def test_whatever_comes_is_read_or_called_no_hook(body: bytes) -> None:
    try:
        heard = parse_hooks(body)
    except NotAHook:
        return
    for hint in heard.hints:
        assert 1 <= hint.company < 2**63
        assert hint.resource in SINGLE or hint.resource in LISTS
        assert hint.resource_id == 0 if hint.resource in LISTS else 1 <= hint.resource_id < 2**63
        assert hint.status in ("create", "update", "delete")
    for one in heard.ended:
        assert (one.company >= 1, one.reason in ("uninstalled", "frozen")) == (True, True)


def test_the_documented_forms_and_their_spellings_are_read() -> None:
    def hint(**keys: Any) -> tuple[Hint, ...]:
        return parse_hooks(json.dumps({"company_id": "4001", "resource_id": "7", "status": "update", **keys}).encode()).hints

    assert hint(resource="client") == (Hint(4001, "client", 7, "update"),)
    assert hint(resource="record", resource_id=2**40, status="delete") == (Hint(4001, "record", 2**40, "delete"),)
    assert hint(resource="master") == hint(resource="staff") == (Hint(4001, "staff", 0, "update"),)
    assert hint(resource="goods_operations_move", resource_id=None) == (Hint(4001, "goods_operation", 0, "update"),)
    assert hint(resource="finance_operation") == hint(resource="finances_operation") != ()
    assert hint(resource="client", resource_id=None) == hint(resource="licence") == hint(resource="client", company_id=0) == ()
    assert parse_hooks(b'{"salon_id":4001,"application_id":1,"event":"freeze","partner_token":"x"}').ended == (
        Ended(4001, "frozen"),
    )
    many = parse_hooks(b'[{"company_id":1,"resource":"client","resource_id":2,"status":"create"},7,{"event":"install"}]')
    assert (len(many.hints), many.ignored) == (1, 2)


HINT = b'"company_id":4001,"resource":"client","resource_id":7,"status":"update"'


@pytest.mark.parametrize(
    "body",
    [
        b"{" + HINT + rb',"data":{"comment":"\ud83d"}}',
        b"{" + HINT + rb',"data":{"comment":"\udc00 \ud83d\u0041"}}',
        b"{" + HINT + b',"data":{"comment":"two\nlines\tand a \x01"}}',
        b"{" + HINT + b',"data":{"spent":NaN,"paid":Infinity,"balance":-Infinity}}',
        b"{" + HINT + b',"data":{"name":"' + "Ольга".encode("cp1251") + b'"}}',
        b"{" + HINT + b',"data":{"name":"\xff\xfe\xed\xa0\x80"}}',
        b"\xef\xbb\xbf{" + HINT + b',"data":{}}',
        b"\xef\xbb\xbf[{" + HINT + b',"data":{"name":"\xd0"}}]',
        b"{" + HINT + b',"data":{"spent":' + b"9" * 5_000 + b"}}",
        b"{" + HINT + b',"data":{"spent":1e999999999}}',
        b"{" + HINT + rb',"data":{"\ud83d":1}}',
    ],
)
def test_what_is_wrong_in_data_costs_no_hint(body: bytes) -> None:
    heard = parse_hooks(body)
    assert (heard.hints, heard.ignored) == ((Hint(4001, "client", 7, "update"),), 0)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b"{" + HINT + b',"data":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"\xef\xbb\xbf" + b"[" * 30_000 + b"]" * 30_000,
        b"\xef\xbb\xbf",
        b"{" + HINT,
        b"NaN",
        b"9" * 60_000,
        b"\x00\xff",
    ],
)
def test_what_is_no_hook_stays_none_however_it_is_built(body: bytes) -> None:
    with pytest.raises(NotAHook):
        parse_hooks(body)


def test_a_schedule_is_told_by_its_member_of_staff_and_a_loyalty_card_is_heard_and_ignored() -> None:
    body = b'{"company_id":1,"resource":"schedule","resource_id":77,"status":"update","data":[]}'
    assert parse_hooks(body).hints == (Hint(1, "schedule", 0, "update"),)
    assert LISTS["schedule"][0] == "schedules"
    card = b'{"company_id":1,"resource":"loyalty_card","resource_id":77,"status":"update","data":[]}'
    assert (parse_hooks(card).hints, parse_hooks(card).ignored) == ((), 1)


def test_every_resource_that_may_be_told_is_looked_at_when_hints_were_lost() -> None:
    assert {LISTS[one][0] if one in LISTS else one for one in ALL} == set(STREAMS) - {"companies"}


def test_that_something_was_deleted_is_not_forgotten_whatever_comes_after_it() -> None:
    told = [Hint(1, "record", 5, status) for status in ("update", "delete", "create", "update")]
    assert one_of_each(iter(told)) == {(1, "record", 5): ("delete", 4)}


# --- a salon's setting -------------------------------------------------------------------------------------------------

URLS = st.lists(
    st.sampled_from(
        [f"https://other.example/{n}" for n in range(9)]
        + [ADDRESS.url, f"{ADDRESS.base}/hooks/older", f"{ADDRESS.base.upper()}/hooks/x", f"{ADDRESS.base}/elsewhere"]
    ),
    max_size=11,
)
FLAG = st.sampled_from([0, 1, "0", "1", True, False, None, ""])
SETTING = st.fixed_dictionaries(
    {},
    optional={
        "urls": URLS | st.none() | st.just("") | URLS.map(lambda urls: {str(n): url for n, url in enumerate(urls)}),
        "active": FLAG, "self_sending": FLAG, "client": FLAG, "good": FLAG, "something_new": FLAG | st.text(max_size=3),
    },
)  # fmt: skip


@given(SETTING)
def test_no_other_address_and_no_other_flag_is_lost(setting: dict[str, Any]) -> None:
    others = [url for url in subscribe.urls_of(setting) if not ADDRESS.is_ours(url)]
    if len(others) >= subscribe.MOST_URLS:
        with pytest.raises(UsageError, match="10 addresses"):
            subscribe.installed(setting, ADDRESS, FLAGS)
        return
    wanted = subscribe.installed(setting, ADDRESS, FLAGS)
    now = subscribe.judged(wanted, ADDRESS, FLAGS)
    assert (now.works, now.others, now.old) == (True, len(others), 0)
    assert subscribe.installed(wanted, ADDRESS, FLAGS) == wanted
    gone = subscribe.removed(wanted, ADDRESS)
    assert subscribe.urls_of(gone) == others
    assert (wanted["self_sending"], now.self_sending) == (1, True)
    kept = {key: value for key, value in setting.items() if key not in ("urls", "active", "self_sending", *FLAGS)}
    assert kept.items() <= wanted.items()
    assert {key: value for key, value in gone.items() if key != "urls"} == {k: v for k, v in wanted.items() if k != "urls"}
    assert subscribe.lost(wanted, wanted, ADDRESS) == (0, ())


@pytest.mark.parametrize(("value", "told", "works"), [(0, False, False), ("1", True, True), (None, None, True)])
def test_webhooks_without_the_users_own_edits_do_not_work(value: object, told: bool | None, works: bool) -> None:
    setting = {**subscribe.installed({}, ADDRESS, FLAGS), "self_sending": value}
    found = subscribe.judged(setting, ADDRESS, FLAGS)
    assert (found.self_sending, found.works) == (told, works)


def test_a_server_that_does_not_know_self_sending_lost_nothing() -> None:
    wanted = subscribe.installed({}, ADDRESS, FLAGS)
    shown = {key: value for key, value in wanted.items() if key != "self_sending"}
    assert subscribe.lost(wanted, shown, ADDRESS) == (0, ())
    assert subscribe.lost(wanted, {**shown, "self_sending": 0}, ADDRESS) == (0, ("self_sending",))


def test_what_is_missing_afterwards_is_counted_and_nothing_shows_the_secret() -> None:
    wanted = {"urls": ["https://a.example/secret", ADDRESS.url], "active": 1, "client": "1", "good": 0}
    assert subscribe.lost(wanted, {"urls": [ADDRESS.url], "active": True, "good": 1}, ADDRESS) == (1, ("client",))
    assert ADDRESS.secret is not None
    assert ADDRESS.secret not in repr(ADDRESS) + ADDRESS.shown


# --- reconcile -----------------------------------------------------------------------------------------------------------

SPAN = st.integers(1, 200_000).map(lambda s: timedelta(seconds=s))


@given(SPAN, SPAN, st.none() | st.integers(0, 500_000).map(lambda s: timedelta(seconds=s)), st.booleans())
def test_changes_are_looked_for_never_sooner_than_the_cadence_and_soon_after_webhooks_stop(
    cadence: timedelta, longer: timedelta, silent: timedelta | None, lossy: bool
) -> None:
    due = reconcile.due_in(cadence, longer, silent, lossy=lossy)
    assert cadence <= due <= max(cadence, longer)
    if silent is None or lossy or silent >= reconcile.window(longer):
        assert due == cadence
    else:
        # Should none come from now on: one cadence after they ceased to be relied on, at the latest.
        assert due <= max(cadence, reconcile.window(longer) - silent + cadence)
        if silent == timedelta(0):
            assert due == max(cadence, longer)


@pytest.mark.parametrize(
    "bad",
    [
        "http://sync.example.org", "https://user@sync.example.org", "https://sync.example.org/hooks/secret", "sync.example.org",
        "https://sync.example.org?x=1", "https://sync.example.org:port", "ftp://x", "'https://a b'",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_is_refused_with_its_line(bad: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(f"hooks:\n  url: {bad}\n", "c.yaml")
    assert [(one.line, one.key) for one in caught.value.problems] == [(2, "hooks.url")]


def test_the_address_and_how_often_are_read() -> None:
    read = parse_settings("hooks: {url: 'https://Sync.example.org/yc/', reconcile: 10m}", "c.yaml").hooks
    assert (read.url, read.host, read.reconcile) == ("https://Sync.example.org/yc", "sync.example.org", timedelta(minutes=10))
    assert parse_settings("hooks: {url: }", "c.yaml").hooks.url is None
