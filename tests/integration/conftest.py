"""The fixtures of the API client's tests."""

from support.bench import bench, database, server

__all__ = ["bench", "database", "server"]
