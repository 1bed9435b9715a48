"""What does the service show and take over HTTP? The status page, live; health, state and metrics for programs."""

from __future__ import annotations

from ycsync.web.admin import Actions, Refusal
from ycsync.web.events import Events
from ycsync.web.hooks import Ears, NotKept
from ycsync.web.page import FirstWords
from ycsync.web.query import Query
from ycsync.web.server import SERVICE, Health, Source, Web, is_ours

__all__ = [
    "SERVICE",
    "Actions",
    "Ears",
    "Events",
    "FirstWords",
    "Health",
    "NotKept",
    "Query",
    "Refusal",
    "Source",
    "Web",
    "is_ours",
]
