-- name: left
-- When requests left behind one address, the latest minute's at most. $1 egress, $2 after this instant.
-- Each of them holds a slot of the minute's window until that is over, so none is missing here.
select slot, extract(epoch from used_at)::float8 as at from @schema.limiter_slots
where egress = $1 and kind = 60 and used_at > greatest($2, now() - interval '60 seconds') order by used_at

-- name: clock
select now()

-- name: ended
-- The batches that ended last, the newest first. $1 how many. Looked for among the last to begin.
select * from (
    select id, company, stream, preset, started_at, finished_at, outcome, requests, rows, errors, retries, throttled, detail
    from @schema.sync_batches where finished_at is not null order by started_at desc limit 500
) began order by finished_at desc limit $1

-- name: at_work
-- Batches that are at work, the longest first. $1 how many.
select id, company, stream, preset, started_at from @schema.sync_batches
where finished_at is null and started_at > now() - interval '1 day' order by started_at limit $1

-- name: hour
-- Rows that the batches of the last hour wrote.
select coalesce(sum(rows), 0)::bigint from @schema.sync_batches where started_at > now() - interval '1 hour'

-- name: quarantined
-- Rows that could not be stored and have not come well since, the last to be seen first. $1 how many, $2 the longest payload.
select id, company_id as company, stream, reason, first_seen, last_seen, octet_length(payload::text) as bytes,
       case when octet_length(payload::text) <= $2 then payload::text end as payload
from @schema.quarantine where resolved_at is null order by last_seen desc, id desc limit $1
