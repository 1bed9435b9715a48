"""How does what was fetched get into PostgreSQL, and what does the database already know?"""

from __future__ import annotations
