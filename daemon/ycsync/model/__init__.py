"""What is the API's JSON, once it is understood? PHP shapes end here: bytes in, rows and rejects out."""

from __future__ import annotations

from ycsync.model.catalogue import parse_companies, parse_service_categories, parse_services, parse_staff
from ycsync.model.clients import parse_clients
from ycsync.model.envelope import Envelope, MalformedBody, decode_envelope
from ycsync.model.hooks import Ended, Heard, Hint, NotAHook, one_of_each, parse_hooks
from ycsync.model.ids import (
    STREAMS,
    ActivityId,
    ClientId,
    CompanyId,
    RecordId,
    ServiceCategoryId,
    ServiceId,
    StaffId,
    Stream,
    UserId,
    VisitId,
)
from ycsync.model.phones import normalise_phone
from ycsync.model.records import parse_records
from ycsync.model.rows import (
    Client,
    Company,
    Parsed,
    Record,
    RecordService,
    RecordStatus,
    Reject,
    Row,
    Service,
    ServiceCategory,
    Staff,
)

__all__ = [
    "STREAMS",
    "ActivityId",
    "Client",
    "ClientId",
    "Company",
    "CompanyId",
    "Ended",
    "Envelope",
    "Heard",
    "Hint",
    "MalformedBody",
    "NotAHook",
    "Parsed",
    "Record",
    "RecordId",
    "RecordService",
    "RecordStatus",
    "Reject",
    "Row",
    "Service",
    "ServiceCategory",
    "ServiceCategoryId",
    "ServiceId",
    "Staff",
    "StaffId",
    "Stream",
    "UserId",
    "VisitId",
    "decode_envelope",
    "normalise_phone",
    "one_of_each",
    "parse_clients",
    "parse_companies",
    "parse_hooks",
    "parse_records",
    "parse_service_categories",
    "parse_services",
    "parse_staff",
]
