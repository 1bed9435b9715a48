"""Which kinds of id and which streams are there?

Ids are 64-bit numbers, unique within one salon (a company's id is unique everywhere).
"""

from __future__ import annotations

from typing import Literal, NewType, get_args

CompanyId = NewType("CompanyId", int)
ClientId = NewType("ClientId", int)
RecordId = NewType("RecordId", int)
VisitId = NewType("VisitId", int)
StaffId = NewType("StaffId", int)
ServiceId = NewType("ServiceId", int)
ServiceCategoryId = NewType("ServiceCategoryId", int)
ActivityId = NewType("ActivityId", int)
UserId = NewType("UserId", int)

Stream = Literal[
    "companies", "service_categories", "services", "staff", "clients", "records",
    "schedules", "goods", "goods_operations", "transactions",
]  # fmt: skip
STREAMS: tuple[Stream, ...] = get_args(Stream)
