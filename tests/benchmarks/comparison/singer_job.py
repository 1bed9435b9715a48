"""The job for Singer: tap-rest-api-msdk into target-postgres (both of Meltano's SDK), with the best settings that they offer.

Of the generic REST taps on PyPI this is the one that names keys, so that the target can merge: tap-rest-api writes none into
its SCHEMA messages, and every row would come again and again. What was chosen, and why, is said beside each setting.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COMPANY = 4001
ID, TEXT = {"type": ["integer", "null"]}, {"type": ["string", "null"]}
WHEN = {"type": ["string", "null"], "format": "date-time"}
RAW = {"type": ["object", "null"]}
# The columns that are looked for, and the whole row as JSON: inferring a schema of 50 rows costs a request and breaks on the
# API's odd types (a number that is a string in one row of sixteen).
SCHEMA: dict[str, dict[str, Any]] = {
    "clients": {"name": TEXT, "phone": TEXT, "last_change_date": WHEN},
    "records": {"date": TEXT, "staff_id": ID, "attendance": ID, "last_change_date": WHEN},
    "services": {"title": TEXT},
    "staff": {"name": TEXT},
}


# `tap | target`, once for the lists with pages and once for those without: paging is a setting of a whole tap. One after the
# other: a tap sends up to 4 requests a second, so two at once would be refused again and again. The target tells how far it
# is by lines of its output; the last whole one is where the tap goes on.
SCRIPT = """\
set -u -o pipefail
failed=0
for lists in paged single; do
    state=()
    grep '}}$' {folder}/told-$lists 2>/dev/null | tail -n 1 >{folder}/state-$lists.json
    [ -s {folder}/state-$lists.json ] && state=(--state {folder}/state-$lists.json)
    {tap}/tap-rest-api-msdk --config {folder}/tap-$lists.json "${{state[@]}}" |
        {target}/target-postgres --config {folder}/target.json >>{folder}/told-$lists || failed=1
done
exit $failed
"""


def write(folder: Path, base_url: str, database_url: str, tap: Path, target: Path) -> Path:
    """The script that does the job, and beside it the configurations of the two taps and the target."""
    common = {
        "api_url": base_url,
        "headers": {"Authorization": "Bearer a, User b", "Accept": "application/vnd.yclients.v2+json"},
        "records_path": "$.data[*]",
        "primary_keys": ["id"],
        "store_raw_json_message": True,
        # The API names no time to wait in a header; the tap then waits 0 s + the extension. Its own waits (2, 4, 8, 16 s) may
        # end within one full minute of the API's budget, after which the tap fails: 20 s, five times.
        "backoff_type": "header",
        "backoff_time_extension": 20,
    }
    paged = {
        **common,
        "pagination_request_style": "page_number_paginator",
        "pagination_response_style": "page",
        # Is there more? The page after the last is asked for: no setting compares a page's rows with its size or the count.
        "next_page_token_path": "$.data[0].id",
        "pagination_initial_offset": 1,
        "replication_key": "last_change_date",
        "start_date": "2000-01-01T00:00:00Z",
        "source_search_field": "changed_after",
        "source_search_query": "$last_run_date+00:00",
        "streams": [
            _stream(folder, "clients", f"/clients/{COMPANY}", count=300),
            _stream(folder, "records", f"/records/{COMPANY}", count=1000, with_deleted=1, include_finance_transactions=1),
        ],
    }
    single = {
        **common,
        "pagination_request_style": "single_page_paginator",
        "streams": [
            _stream(folder, "services", f"/company/{COMPANY}/services"),
            _stream(folder, "staff", f"/company/{COMPANY}/staff"),
        ],
    }
    loading = {
        "sqlalchemy_url": database_url.replace("postgresql:", "postgresql+psycopg:"),
        "default_target_schema": "salon",
        "use_copy": True,  # faster than its INSERTs
        "validate_records": False,  # ids that are strings are what the API sends
        "add_record_metadata": False,
        "activate_version": False,  # it needs that metadata
        "batch_size_rows": 10_000,  # its default, and how often it tells how far it is
    }
    _file(folder, "tap-paged", paged)
    _file(folder, "tap-single", single)
    _file(folder, "target", loading)
    script = folder / "job.sh"
    script.write_text(SCRIPT.format(folder=folder, tap=tap, target=target), "utf-8")
    return script


def _stream(folder: Path, name: str, path: str, **params: int) -> dict[str, Any]:
    properties = {"id": {"type": ["integer"]}, **SCHEMA[name], "_sdc_raw_json": RAW}
    schema = _file(folder, f"schema-{name}", {"type": "object", "properties": properties, "required": ["id"]})
    return {"name": name, "path": path, "params": params, "schema": str(schema)}


def _file(folder: Path, name: str, content: dict[str, Any]) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content, indent=1), "utf-8")
    return path
