"""Every test here runs real processes in a place of their own."""

from support.place import options, place

__all__ = ["options", "place"]
