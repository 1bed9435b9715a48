-- name: now
-- The database's clock is the one that ages are measured by.
select now()

-- name: salons
-- Every salon that the database knows; `listed`: YCLIENTS still lists it and it is active.
select id, title, active and deleted_at is null as listed from @schema.companies order by id

-- name: news
-- For the next look: the oldest transaction that runs now, how many streams there are, and whether salons changed since the last.
-- $1 that transaction of the last look. Numbers of transactions begin again after 2^32: half of them are later, half earlier.
select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as xmin, (select count(*) from @schema.sync_status where stream <> 'hooks') as rows,
       $1::bigint is null or exists (
           select from @schema.companies c
           where (c.xmin::text::bigint - $1 % 4294967296 + 4294967296) % 4294967296 < 2147483648
       ) as salons

-- name: streams
-- $1 null: all; else those that changed since the oldest transaction of the last look, and those that fill.
-- How each stream stands, and for those that fill: how many batches of the pass ended because they were full (one that was
-- stopped or cut off tells nothing of what a batch holds), and how long all of them worked.
-- The first batch of a pass starts before its first answer, hence the hour.
with filling as (
    select company_id, stream, pass_started_at from @schema.sync_status
    where phase in ('filling', 'closing') and pass_started_at is not null
), worked as (
    select f.company_id, f.stream, count(*) filter (where b.outcome = 'more') as batches,
           sum(extract(epoch from coalesce(b.finished_at, now()) - b.started_at))::float8 as busy_s,
           (stddev_pop(extract(epoch from b.finished_at - b.started_at) / nullif(b.rows, 0))
            / nullif(avg(extract(epoch from b.finished_at - b.started_at) / nullif(b.rows, 0)), 0))::float8 as spread
    from filling f join @schema.sync_batches b
        on b.company_id = f.company_id and b.stream = f.stream
        and b.started_at > f.pass_started_at - interval '1 hour'
        and coalesce(b.finished_at, now()) > f.pass_started_at
    group by f.company_id, f.stream
), bad as (
    -- Service categories come with the services.
    select company_id, case stream when 'service_categories' then 'services' else stream end as stream, count(*) as rows
    from @schema.quarantine where resolved_at is null group by 1, 2
)
select s.company_id as company, s.stream, s.phase, s.expected, s.done, s.requests, s.last_success_at, s.proved_as_of,
       s.last_error, s.error_code, s.error_since, s.failures, s.pass_started_at, s.due_at,
       s.claimed_by is not null as working, coalesce(w.batches, 0) as batches, coalesce(w.busy_s, 0) as busy_s, w.spread,
       coalesce(bad.rows, 0) as quarantined, s.cadence_s, s.odd::text as odd,
       s.stream = 'services' and coalesce(s.cursor -> 'refused' ? 'service_categories', false) as lacks_categories
from @schema.sync_status s
left join worked w on w.company_id = s.company_id and w.stream = s.stream
left join bad on bad.company_id = s.company_id and bad.stream = s.stream
where s.stream <> 'hooks' and ($1::bigint is null or s.phase in ('filling', 'closing')
   or (s.xmin::text::bigint - $1 % 4294967296 + 4294967296) % 4294967296 < 2147483648)
order by s.company_id, s.stream

-- name: usage
-- Requests that left in the last second and the last minute behind one address, and how the server took them. $1 egress.
-- `others`: requests a minute that others were seen to send lately; `leaves`: what that leaves ycsync.
with used as (
    select count(*) filter (where kind = 1 and used_at > now() - interval '1 second') as second,
           count(*) filter (where kind = 60 and used_at > now() - interval '60 seconds') as minute
    from @schema.limiter_slots where egress = $1
)
select used.second, used.minute, coalesce(e.throttled, 0) as throttled, nullif(e.slow_since, '-infinity') as throttled_at,
       case when e.blocked_until > now() then e.blocked_until end as blocked_until,
       e.server_limit, e.server_remaining, e.server_resets_at, e.server_said_at,
       case when e.others_at > now() - interval '65 s' then e.others end as others,
       case when e.others_at > now() - interval '65 s' then e.leaves_minute end as leaves
from used left join @schema.limiter_egress e on e.egress = $1

-- name: sharing
-- Budgets of which each found lately that what others use of it is what the other one sends.
select one.egress as one, other.egress as other
from @schema.limiter_egress one
join @schema.limiter_egress other on one.egress < other.egress
    and other.egress = any (one.shares_with) and one.egress = any (other.shares_with)
where least(one.shares_at, other.shares_at) > now() - interval '15 min'
order by 1, 2

-- name: workers
-- Processes that work the queue and were heard of within the last ten seconds.
select role, pid, version, egress, started_at, beat_at, info::text as info, host, address, seen_from
from @schema.workers where beat_at > now() - interval '10 seconds' order by role, started_at

-- name: hour
-- What batches that began in the last hour did; one that is at work has no figures yet.
select count(finished_at) as batches, count(*) filter (where outcome in ('failed', 'lost', 'denied')) as failed,
       count(*) filter (where finished_at is null) as working,
       coalesce(sum(requests), 0) as requests, coalesce(sum(errors), 0) as errors, coalesce(sum(throttled), 0) as throttled
from @schema.sync_batches where started_at > now() - interval '1 hour'

-- name: recent
-- The batches that ended last, the newest first. $1 how many. Looked for among the last to begin: an hour may hold ten thousands.
select * from (
    select company, stream, started_at, finished_at, outcome, requests, rows, errors
    from @schema.sync_batches where finished_at is not null order by started_at desc limit 500
) began where finished_at > now() - interval '1 day' order by finished_at desc limit $1

-- name: pauses
select company_id as company, since, reason from @schema.pauses order by company_id

-- name: hints
-- What webhooks told and is not fetched yet.
select count(*) from @schema.hooks

-- name: erased
select company_id as company, min(erased_at) as since
from @schema.erasures where client_id is null and lifted_at is null group by company_id order by company_id

-- name: batches
-- What batches did in the last 24 hours, or, when there were none, ever.
with recent as (
    select * from @schema.sync_batches where started_at > now() - interval '24 hours'
), chosen as (
    select * from recent
    union all
    select * from @schema.sync_batches where not exists (select from recent)
)
select count(*) as batches, min(started_at) as since,
       coalesce(sum(requests) filter (where outcome <> 'denied'), 0)::bigint as requests,
       coalesce(sum(errors) filter (where outcome <> 'denied'), 0)::bigint as errors,
       coalesce(sum(errors) filter (where outcome = 'denied'), 0)::bigint as refused,
       coalesce(sum(throttled), 0)::bigint as throttled,
       count(*) filter (where outcome = 'failed') as failed, count(*) filter (where outcome = 'lost') as lost,
       count(*) filter (where outcome = 'denied') as denied
from chosen

-- name: stuck
-- Work that is claimed, or a batch that runs, by a worker that is gone or has not been heard of for 30 seconds.
with living as (
    select id from @schema.workers where beat_at > now() - interval '30 seconds'
)
select (select count(*) from @schema.sync_status s where s.claimed_by is not null and s.claimed_by not in (select id from living))
     + (select count(*) from @schema.sync_batches b where b.finished_at is null
            and (b.worker_id is null or b.worker_id not in (select id from living)))

-- name: misplaced
-- Streams with times that are not computed by the salon's time zone yet, since it changed.
select count(*) from @schema.sync_status s join @schema.companies c on c.id = s.company_id
where s.zone <> case when c.timezone_known then c.timezone else '' end

-- name: clients
-- Clients that YCLIENTS still has. $1 companies. `nameless`: neither a name nor a phone. `shared`: phones of several of them.
with live as (
    select c.company_id, c.id, c.phone, c.visit_count,
           c.name = '' and c.surname = '' and c.patronymic = '' and c.phone_raw = '' as nameless
    from @schema.clients c where c.deleted_at is null and c.company_id = any ($1::bigint[])
), visitors as (
    select l.company_id, l.id from live l where l.visit_count > 0
)
select (select count(*) from live) as live,
       (select count(*) from live where nameless) as nameless,
       (select count(*) from live where phone is not null) as with_phone,
       (select count(*) from visitors) as visitors,
       (select count(*) from visitors v
        where exists (select from @schema.records r where r.company_id = v.company_id and r.client_id = v.id)) as with_visits

-- name: live
-- Rows that YCLIENTS still has, by salon. $1 companies.
select company_id as company, 'clients' as stream, count(*) as rows
from @schema.clients where deleted_at is null and company_id = any ($1::bigint[]) group by company_id
union all
select company_id, 'records', count(*)
from @schema.records where deleted_at is null and company_id = any ($1::bigint[]) group by company_id

-- name: live_of
-- The same of one declared stream. $1 companies. {stream} is filled in by store/report.py.
select company_id as company, '{stream}' as stream, count(*) as rows
from @schema.{stream} where deleted_at is null and company_id = any ($1::bigint[]) group by company_id

-- name: records
-- $1 companies. `orphans`: lines of visits that are not there.
select count(*) as stored, count(*) filter (where deleted_at is not null) as deleted,
       count(*) filter (where client_id is null) as walk_ins,
       (select count(*) from @schema.record_services l where l.company_id = any ($1::bigint[]) and not exists (
            select from @schema.records r where r.company_id = l.company_id and r.id = l.record_id)) as orphans
from @schema.records where company_id = any ($1::bigint[])

-- name: unguarded
-- Tables in which a key could come twice, because no valid unique index forbids it. $1 schema, $2 tables, $3 their keys.
select t.name from unnest($2::text[], $3::text[]) as t(name, key)
where not exists (
    select from pg_index i
    join pg_class c on c.oid = i.indrelid
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relname = t.name and i.indisunique and i.indisvalid and i.indpred is null
      and t.key = (select string_agg(a.attname, ',' order by k.place)
                   from unnest(i.indkey::int2[]) with ordinality as k(attnum, place)
                   join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum))

-- name: counts
-- What a plan needs: how large each salon is. Every visit that was fetched counts, the cancelled ones too.
select c.id as company, c.title,
       (select count(*) from @schema.clients x where x.company_id = c.id and x.deleted_at is null) as clients,
       (select count(*) from @schema.records x where x.company_id = c.id) as visits
from @schema.companies c where c.deleted_at is null and c.active order by c.id
