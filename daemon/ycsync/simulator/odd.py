"""Which odd types does a payload wear on the wire?

The quirks of yclients-api §5: they follow from the row's id, so the same row looks the same in every answer.
A value never changes its meaning, only its type or its spelling.
"""

from __future__ import annotations

from typing import Any

from .rows import Payload, mix


def odd_money(value: Any, h: int) -> Any:
    """int or float -> itself, a float, or a decimal string."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    kind = h % 4
    if kind == 0:
        return f"{value:.2f}"
    return float(value) if kind == 1 else value


def _odd_phone(phone: Any, h: int) -> Any:
    if not isinstance(phone, str) or not phone.startswith("+7") or not phone[1:].isdigit():
        return phone
    kind = h % 6
    if kind == 0:
        return int(phone[1:])
    return phone[1:] if kind == 1 else phone


def _strings(payload: Payload, *keys: str) -> None:
    for key in keys:
        value = payload.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            payload[key] = str(value)


def _flip(payload: Payload, *keys: str) -> None:
    """true/false <-> 1/0"""
    for key in keys:
        value = payload.get(key)
        if isinstance(value, bool):
            payload[key] = int(value)
        elif value in (0, 1):
            payload[key] = bool(value)


def _list_for_empty(payload: Payload, *keys: str) -> None:
    for key in keys:
        if payload.get(key) == {}:
            payload[key] = []


def _lines(payload: Payload, key: str) -> list[Payload]:
    lines = payload.get(key)
    return [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []


def odd_client(payload: Payload) -> Payload:
    """A client's card (changed in place)."""
    h = mix(int(payload["id"]), 21)
    if h % 16 == 0:
        _strings(payload, "id")
    payload["phone"] = _odd_phone(payload.get("phone"), h >> 4)
    for shift, key in enumerate(("spent", "paid", "balance")):
        payload[key] = odd_money(payload.get(key), h >> (8 + 2 * shift))
    if (h >> 16) % 4 == 0:
        _strings(payload, "visits", "discount", "sex_id", "importance_id")
    if (h >> 20) & 1:
        _list_for_empty(payload, "custom_fields")
    if (h >> 24) % 5 == 0:
        _flip(payload, "sms_check", "sms_not")
    stamp = payload.get("last_change_date")
    if (h >> 28) % 4 == 0 and isinstance(stamp, str) and len(stamp) == 24:
        payload["last_change_date"] = f"{stamp[:-2]}:{stamp[-2:]}"
    return payload


def odd_record(payload: Payload) -> Payload:
    """A record (changed in place)."""
    h = mix(int(payload["id"]), 22)
    if h % 16 == 0:
        _strings(payload, "id", "company_id")
    if (h >> 4) & 1:
        _strings(payload, "visit_id")
    if (h >> 5) % 8 == 0:
        _strings(payload, "staff_id", "attendance", "visit_attendance", "seance_length")
    if (h >> 8) % 3 == 0:
        _flip(payload, "deleted", "online", "prepaid")
    if (h >> 10) % 4 == 0:
        _flip(payload, "paid_full", "confirmed")
    if (h >> 12) & 1:
        _list_for_empty(payload, "custom_fields")
    stamp = payload.get("datetime")
    if isinstance(stamp, str) and len(stamp) == 25:
        form = (h >> 14) % 3
        if form == 1:
            payload["datetime"] = f"{stamp[:-3]}{stamp[-2:]}"
        elif form == 2:
            payload["datetime"] = f"{stamp[:19]}.000{stamp[19:]}"
    client = payload.get("client")
    if client is None:
        if (h >> 16) % 3 == 0:
            payload["client"] = []
    elif isinstance(client, dict):
        client["phone"] = _odd_phone(client.get("phone"), h >> 18)
        if (h >> 22) & 1:
            _list_for_empty(client, "custom_fields")
        if (h >> 23) % 8 == 0:
            _strings(client, "id", "discount")
    staff = payload.get("staff")
    if isinstance(staff, dict) and (h >> 26) % 6 == 0:
        staff["position"] = []
    for place, line in enumerate((*_lines(payload, "services"), *_lines(payload, "goods_transactions"))):
        g = mix(h, place)
        for shift, key in enumerate(("cost", "cost_to_pay", "manual_cost", "cost_per_unit", "first_cost")):
            line[key] = odd_money(line.get(key), g >> (2 * shift))
        if (g >> 12) % 8 == 0:
            _strings(line, "id", "amount", "discount")
    for line in _lines(payload, "finance_transactions"):
        line["amount"] = odd_money(line.get("amount"), h >> 30)
        if (h >> 34) & 1:
            _strings(line, "id")
    if (h >> 36) % 20 == 0 and payload.get("comment") == "":
        payload["comment"] = None if (h >> 42) & 1 else 0
    return payload


def odd_service(payload: Payload) -> Payload:
    """A service of the price list: half of them are all strings, as the vendor's own sample is."""
    h = mix(int(payload["id"]), 23)
    if h & 1:
        for key in ("price_min", "price_max"):
            if isinstance(payload.get(key), int | float):
                payload[key] = f"{payload[key]:.2f}"
        _strings(payload, "id", "salon_service_id", "category_id", "discount", "weight", "active", "duration")
        payload["staff"] = [
            {"id": str(one["id"]), "seance_length": str(one["seance_length"])} for one in payload.get("staff", ())
        ]
    return payload


def odd_staff(payload: Payload) -> Payload:
    """A staff member: `position` may be an empty list, flags may be strings."""
    h = mix(int(payload["id"]), 24)
    if h % 3 == 0:
        payload["position"] = []
    if (h >> 4) % 3 == 0:
        _strings(payload, "fired", "status", "hidden")
    return payload


def odd_company(payload: Payload) -> Payload:
    """A company in GET /companies: strings where GET /company/{id} has numbers."""
    _strings(payload, "id", "active")
    payload["timezone"] = payload.get("timezone_name") or payload.get("timezone")
    return payload
