"""Fixtures that several of these files use: a database, the API client, a configuration."""

from filled import config
from support.bench import bench, database, server

__all__ = ["bench", "config", "database", "server"]
