"""The job for dlt: its rest_api source with the best settings that it offers; runs in an environment of its own.

    python dlt_pipeline.py BASE_URL DATABASE_URL FOLDER

What was chosen, and why, is said beside each setting. docs/benchmarks.md sums it up.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import dlt
from dlt.sources.helpers import requests
from dlt.sources.rest_api import rest_api_source

COMPANY = 4001
# The API has no header that says when to come again, so what dlt offers is its exponential wait. Five attempts, its default,
# may end within one full minute of the API's budget: twelve, no wait longer than 20 s.
CLIENT = requests.Client(request_max_attempts=12, request_backoff_factor=1, request_max_retry_delay=20)
ID = {"id": {"data_type": "bigint", "nullable": False}}  # the API gives ids as numbers and as strings

CHANGED = {"last_change_date": {"data_type": "timestamp", "dedup_sort": "desc"}}


def incremental(name: str) -> dict[str, Any]:
    """Later runs ask for what changed. An hour of overlap: changes that came while the first run read are among them."""
    return {
        "start_param": "changed_after",
        "cursor_path": "last_change_date",
        "initial_value": "2000-01-01T00:00:00+0000",
        "lag": 3600,
    }


def resource(name: str, path: str, size: int | None, **params: str) -> dict[str, Any]:
    """One list of the API: the largest pages that it gives, keyed rows, one thread of its own."""
    paged = size is not None
    return {
        "name": name,
        "primary_key": "id",
        # "upsert" fails when one run reads a row twice, as pages over moving data do; "delete-insert" keeps the newest.
        "write_disposition": {"disposition": "merge", "strategy": "delete-insert"},
        "columns": {**ID, **(CHANGED if paged else {})},
        "max_table_nesting": 0,  # lists stay JSON: a table for each kind of line would be more work than the others do
        "parallelized": True,
        "endpoint": {
            "path": path,
            "params": {**({"count": size} if paged else {}), **params},
            "data_selector": "data",
            # The API counts rows, dlt would need a count of pages: so the page after the last is asked for.
            "paginator": {"type": "page_number", "base_page": 1, "total_path": None} if paged else "single_page",
            **({"incremental": incremental(name)} if paged else {}),
        },
    }


def main(base_url: str, database_url: str, folder: str) -> None:
    source = rest_api_source(
        {
            "client": {
                "base_url": base_url,
                "headers": {"Authorization": "Bearer a, User b", "Accept": "application/vnd.yclients.v2+json"},
                "session": CLIENT.session,
            },
            "resources": [
                resource("clients", f"clients/{COMPANY}", 300),
                resource("records", f"records/{COMPANY}", 1000, with_deleted="1", include_finance_transactions="1"),
                resource("services", f"company/{COMPANY}/services", None),
                resource("staff", f"company/{COMPANY}/staff", None),
            ],
        }
    )
    source.max_table_nesting = 0
    pipeline = dlt.pipeline(
        "salon",
        pipelines_dir=str(Path(folder) / "pipelines"),
        destination=dlt.destinations.postgres(database_url),
        dataset_name="salon",
    )
    print(pipeline.run(source, loader_file_format="csv"))


if __name__ == "__main__":
    main(*sys.argv[1:])
