"""Does one value of PHP-shaped JSON come to mean what its column needs?"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ycsync.model.lenient import Lenient
from ycsync.model.phones import normalise_phone
from ycsync.model.values import (
    FieldError,
    add_up,
    as_bool,
    as_id,
    as_int,
    as_money,
    as_optional_id,
    as_text,
)

# A machine's first run builds Hypothesis' tables of Unicode, seconds that say nothing about the code.
_unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

EXTENSIONS = (
    " ext. 5",
    " Ext 12",
    ";ext=5",
    " доб. 12",
    " (доб.12)",
    " ДОБ 1",
    " вн. 3",
    "x5",
    " x 12",
    "х5",
    " #5",
    "#1234",
    ",5",
    ",,5",
)


@pytest.mark.parametrize(
    ("raw", "phone"),
    [
        ("79990000011", "79990000011"),
        ("+79990000011", "79990000011"),
        ("+7 (999) 000-00-11", "79990000011"),
        ("89990000011", "79990000011"),
        ("8 999 000 00 11", "79990000011"),
        ("9990000011", "79990000011"),
        ("1990000011", "1990000011"),
        ("+12025550100", "12025550100"),
        ("000001", None),
        ("0000001", None),
        ("0912345678", "0912345678"),
        ("123456789012345", "123456789012345"),
        ("1234567890123456", None),
        ("", None),
        ("нет", None),
        ("+", None),
    ],
)
def test_a_phone_is_normalised_for_look_ups(raw: str, phone: str | None) -> None:
    assert normalise_phone(raw) == (phone, False)


@pytest.mark.parametrize(
    ("raw", "phone"),
    [
        ("+84912345678", "84912345678"),
        ("+81312345678", "81312345678"),
        ("+86 131 1234 567", "861311234567"),
        ("+8201012345678", "8201012345678"),
        ("+9607712345", "9607712345"),
        ("+99890123456", "99890123456"),
        (" (+84) 912-345-678", "84912345678"),
        ("тел. +84912345678", "84912345678"),
        ("0049 176 0000000", "491760000000"),
        ("(00) 49 176 0000000", "491760000000"),
        ("0084912345678", "84912345678"),
        ("007 999 000 00 11", "79990000011"),
        ("+0049 176 0000000", "491760000000"),
        ("+8 999 000 00 11", "79990000011"),  # no country has +89
        ("00 8 999 000 00 11", "79990000011"),
        ("+8 495 000 00 11", "84950000011"),  # Vietnam has +84
        ("+1234567", "1234567"),
        ("+123456", None),
        ("+1234567890123456", None),
        ("00123456", None),
        ("0000000000", None),
    ],
)
def test_with_a_plus_or_00_the_digits_are_the_number(raw: str, phone: str | None) -> None:
    assert normalise_phone(raw) == (phone, False)


@pytest.mark.parametrize(
    ("raw", "phone"),
    [
        *(("+1 987-654-3210" + more, "19876543210") for more in EXTENSIONS),
        *(("8 (999) 000-00-11" + more, "79990000011") for more in EXTENSIONS),
        ("+9607712345 ext. 5", "9607712345"),
        ("+960771234#5", None),
        ("+79990000011, +79990000012", None),  # two numbers
        ("8,999,000,00,11", "79990000011"),
    ],
)
def test_an_extension_is_dropped_and_is_no_mask(raw: str, phone: str | None) -> None:
    assert normalise_phone(raw)[0] == phone


@pytest.mark.parametrize(
    "raw",
    [
        "+7999*****11",
        "7999xxxxx11",
        "7999XXX0011",
        "+7999•••••11",
        "7999ххх0011",
        "*",
        "+7 999 ### 00 11",
        "+7999*****11 ext. 5",
        "+7999*****11,5",
        "+7 (999) 000-00-x1",
        "+7 999 000 00 #1",
        "+7 999 x00 00 11",
        "7999000001x1",
        "+79990000011*5",
        "x5",
        "#5",
        "ext. 5",
    ],
)
def test_a_masked_phone_is_no_phone(raw: str) -> None:
    assert normalise_phone(raw) == (None, True)


@_unhurried
@given(st.text())
def test_a_normalised_phone_is_digits_and_stays_as_it_is(raw: str) -> None:
    phone, masked = normalise_phone(raw)
    if phone is not None:
        assert not masked
        assert re.fullmatch("[0-9]{7,15}", phone)
        abroad = phone if phone.startswith("0") else f"+{phone}"  # a plus says that it is whole already
        assert normalise_phone(abroad) == (phone, False)


@_unhurried
@given(st.from_regex("9[0-9]{9}", fullmatch=True))
def test_every_way_to_write_a_russian_number_is_one_phone(ten: str) -> None:
    assert {normalise_phone(prefix + ten)[0] for prefix in ("", "7", "8", "+7", "+7 ", "8-")} == {"7" + ten}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        ("12", 12),
        (" 12 ", 12),
        ("12.0", 12),
        (Decimal("12.0"), 12),
        (2**63 - 1, 2**63 - 1),
        ("007", 7),
    ],
)
def test_an_id_is_a_number_or_its_digits(value: Any, expected: int) -> None:
    assert as_id(value, "id") == expected


@pytest.mark.parametrize(
    "value",
    [0, -1, True, False, None, "", "abc", "1e3", 2**63, str(2**63), Decimal("1.5"), [], {}, [1], "9" * 5000],
)
def test_what_is_no_id_is_refused(value: Any) -> None:
    with pytest.raises(FieldError, match=r"^id: not an id$"):
        as_id(value, "id")


@pytest.mark.parametrize("value", [None, 0, "0", "", " ", [], {}, False, Decimal(0)])
def test_an_optional_id_may_be_missing_in_every_way(value: Any) -> None:
    assert as_optional_id(value, "staff_id") is None


@pytest.mark.parametrize(("value", "expected"), [(-1, -1), ("-1", -1), (Decimal("3.0"), 3), ("", None), ([], None)])
def test_a_whole_number(value: Any, expected: int | None) -> None:
    assert as_int(value, "weight") == expected


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, "2147483648", Decimal("1E+20")])
def test_a_number_beyond_its_column_is_refused(value: Any) -> None:
    with pytest.raises(FieldError, match=r"^weight: out of range$"):
        as_int(value, "weight")


@pytest.mark.parametrize("value", [True, "x", "1,5", Decimal("1.5"), [1], {"a": 1}, "NaN"])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(FieldError, match=r"^weight: not a whole number$"):
        as_int(value, "weight")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1800, "1800"),
        (Decimal("0.03"), "0.03"),
        ("1000.00", "1000.00"),
        ("1 250,50", "1250.50"),
        ("1\u00a0250.50", "1250.50"),
        ("-12.5", "-12.5"),
        (".5", "0.5"),
        ("1e3", "1E+3"),
        (0, "0"),
        (10**30, str(10**30)),
    ],
)
def test_money_is_exactly_what_was_written(value: Any, expected: str) -> None:
    assert str(as_money(value, "cost")) == expected


@pytest.mark.parametrize("value", [None, "", " ", [], {}, False])
def test_no_money_is_none(value: Any) -> None:
    assert as_money(value, "cost") is None


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "Infinity",
        "1,2,3",
        "1.2.3",
        "1_000",
        "abc",
        True,
        [1],
        10**30 + 1,
        -(10**31),
        "1e31",
        Decimal("1e-200"),
    ],
)
def test_what_is_no_money_is_refused(value: Any) -> None:
    with pytest.raises(FieldError, match=r"^cost: (not a number|out of range)$"):
        as_money(value, "cost")


def test_a_sum_is_not_rounded() -> None:
    assert add_up([Decimal(10**30), Decimal("0.01")]) == Decimal("1000000000000000000000000000000.01")


@pytest.mark.parametrize("value", [True, 1, "1", "true", Decimal("1.0")])
def test_yes(value: Any) -> None:
    assert as_bool(value, "active") is True


@pytest.mark.parametrize("value", [False, 0, "0", "false", Decimal(0)])
def test_no(value: Any) -> None:
    assert as_bool(value, "active", default=True) is False


@pytest.mark.parametrize("value", [None, "", [], {}])
def test_a_missing_flag_has_its_default(value: Any) -> None:
    assert as_bool(value, "active", default=True) is True
    assert as_bool(value, "active") is False


@pytest.mark.parametrize("value", [2, -1, "yes", [0], {"a": 1}, Decimal("0.5")])
def test_what_is_no_flag_is_refused(value: Any) -> None:
    with pytest.raises(FieldError, match=r"^active: neither yes nor no$"):
        as_bool(value, "active")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "a"),
        (0, "0"),
        (79990000011, "79990000011"),
        (Decimal("7.9990000011E+10"), "79990000011"),
        (Decimal("1.50"), "1.50"),
        (True, "true"),
        (None, ""),
        (False, ""),
        ([], ""),
        ({}, ""),
    ],
)
def test_a_text(value: Any, expected: str) -> None:
    assert as_text(value, "comment") == expected


def test_a_list_is_no_text() -> None:
    with pytest.raises(FieldError, match=r"^comment: not a text$"):
        as_text(["a"], "comment")


@pytest.mark.parametrize("value", [None, [], {}, "", 0, False, [None, [], {}]])
def test_no_objects(value: Any) -> None:
    read = Lenient()
    assert list(read.objects(value, "services")) == []
    assert read.odd == ()


def test_a_php_list_with_gaps_is_a_list() -> None:
    assert list(Lenient().objects({"0": {"id": 1}, "2": {"id": 3}}, "services")) == [{"id": 1}, {"id": 3}]
    assert list(Lenient().objects({"id": 1}, "services")) == [{"id": 1}]


@pytest.mark.parametrize(("value", "good"), [("text", []), (5, []), (["x", {"id": 1}, 7, [1]], [{"id": 1}])])
def test_of_a_list_what_is_no_object_is_left_out_and_noted(value: Any, good: list[Any]) -> None:
    read = Lenient()
    assert list(read.objects(value, "services")) == good
    assert read.odd == ("services",)


def test_an_unreadable_value_becomes_the_columns_empty_value_and_is_noted_once() -> None:
    read = Lenient()
    assert read.text(["x"], "name") == read.text({"a": 1}, "name") == ""
    assert (read.id("x", "user_id"), read.integer("x", "weight"), read.instant("x", "changed_at")) == (None, None, None)
    assert (read.flag("x", "active", default=True), read.flag("x", "deleted")) == (True, False)
    assert read.money("x", "cost", Decimal(1)) is None
    assert read.money(None, "cost", Decimal(1)) == 1
    assert read.object("x", "position_title") == {}
    assert read.odd == ("name", "user_id", "weight", "changed_at", "active", "deleted", "cost", "position_title")
