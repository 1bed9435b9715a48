-- works with: 2
-- Indexes that keep the cost of a batch the same for one salon and for forty thousand, and for a day and a year of batches.

-- The queue, in the order in which it is claimed: deltas, what has not begun, what failed last, passes that have begun, and what somebody waits for.
create index sync_status_quick on @schema.sync_status (due_at, company_id)
    where claimed_by is null and stream <> 'hooks' and phase = 'live' and failures = 0;
create index sync_status_fresh on @schema.sync_status (due_at, company_id)
    where claimed_by is null and stream <> 'hooks' and phase in ('new', 'stopped') and failures = 0;
create index sync_status_failed on @schema.sync_status (due_at, company_id)
    where claimed_by is null and stream <> 'hooks' and phase in ('new', 'stopped', 'live') and failures > 0;
create index sync_status_begun on @schema.sync_status (due_at, company_id)
    where claimed_by is null and stream <> 'hooks' and phase in ('filling', 'closing');
create index sync_status_urgent on @schema.sync_status (priority desc, (phase in ('filling', 'closing')), due_at, company_id)
    where claimed_by is null and stream <> 'hooks' and priority > 0;
create index hooks_ready on @schema.hooks (ready_at, company_id);
-- What every service looks at every few seconds. Not by claimed_by: as long as some old transaction lasts (a dump, say), the row
-- that ends its batch would be looked for among all that were claimed since.
create index sync_status_claimed on @schema.sync_status (company_id, stream) where claimed_by is not null;
create index sync_status_commanded on @schema.sync_status (company_id, stream) where options ? 'by';
create index sync_batches_open on @schema.sync_batches (worker_id) where finished_at is null;
create index sync_batches_quiet on @schema.sync_batches (started_at) where rows = 0 and errors = 0;

-- Each delta counts what is there.
create index clients_live on @schema.clients (company_id) where deleted_at is null;
create index records_live on @schema.records (company_id) where deleted_at is null;
