"""How does one batch run: fetch → parse → rows and cursor in one transaction a page?"""

from __future__ import annotations

from ycsync.model.streams import DECLARED
from ycsync.store.work import HOOKS
from ycsync.sync import declared, lists
from ycsync.sync.batch import Batch, Result
from ycsync.sync.clients import ClientsBatch
from ycsync.sync.hooks import HooksBatch
from ycsync.sync.lists import run_companies
from ycsync.sync.records import RecordsBatch
from ycsync.sync.zones import align, align_idle

__all__ = ["Batch", "Result", "align_idle", "run_batch", "run_companies"]


async def run_batch(batch: Batch) -> Result:
    """Run one batch of any stream but `companies`. Raises one of `errors`; then what was committed stays."""
    await align(batch)
    stream = batch.claim.stream
    if stream == "records":
        return await RecordsBatch(batch).run()
    if stream == "clients":
        return await ClientsBatch(batch).run()
    if stream in DECLARED:
        return await declared.run(batch)
    if stream == HOOKS:
        return await HooksBatch(batch).run()
    return await lists.run(batch)
