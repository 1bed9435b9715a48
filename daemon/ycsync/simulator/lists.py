"""What does a row of a salon's price list, its categories and its staff look like, in canonical types?"""

from __future__ import annotations

from .rows import Payload


def service_payload(service_id: int, title: str, category_id: int, price: int, seconds: int, staff_ids: list[int]) -> Payload:
    """A row of GET /company/{c}/services, in canonical types."""
    return {
        "id": service_id,
        "salon_service_id": service_id + 990_000,
        "title": title,
        "booking_title": title,
        "category_id": category_id,
        "price_min": price,
        "price_max": price + price // 4,
        "duration": seconds,
        "discount": 0,
        "comment": "",
        "weight": 1,
        "active": 1,
        "api_id": "",
        "staff": [{"id": one, "seance_length": seconds} for one in staff_ids],
        "image_group": [],
    }


def staff_payload(staff_id: int, company_id: int, name: str, specialization: str, *, fired: int = 0) -> Payload:
    """A row of GET /company/{c}/staff, in canonical types."""
    return {
        "id": staff_id,
        "api_id": None,
        "name": name,
        "company_id": company_id,
        "specialization": specialization,
        "position": {"id": 5, "title": "Мастер"},
        "avatar": "",
        "avatar_big": "",
        "fired": fired,
        "status": 0,
        "hidden": 0,
        "user_id": 501,
        "rating": 0,
        "weight": 1,
    }


def category_payload(category_id: int, title: str, staff_ids: list[int]) -> Payload:
    """A row of GET /company/{c}/service_categories, in canonical types."""
    return {
        "id": category_id,
        "salon_service_id": category_id + 990_000,
        "title": title,
        "api_id": "",
        "weight": 1,
        "staff": staff_ids,
    }
