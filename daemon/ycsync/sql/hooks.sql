-- name: hear
-- What webhooks told, of all that wait, at once. A row that is there is told once more: whoever works on it now does not take
-- it off. In order, so that two machines never wait for each other.
-- $1 companies, $2 resources, $3 ids, $4 status, $5 how often each was told.
with told as (
    select * from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bigint[])
        as t(company_id, resource, resource_id, status, received)
    where not exists (select from @schema.erasures e
                      where e.company_id = t.company_id and e.client_id is null and e.lifted_at is null)
), heard as (
    insert into @schema.hooks_heard as h (company_id, heard_at)
    select distinct company_id, now() from told order by company_id
    on conflict (company_id) do update set heard_at = excluded.heard_at
    where h.heard_at < excluded.heard_at - interval '1 second'
)
insert into @schema.hooks as h (company_id, resource, resource_id, status, received)
select * from told order by company_id, resource, resource_id
on conflict (company_id, resource, resource_id) do update
set status = case when h.status = 'delete' then h.status else excluded.status end, received = h.received + excluded.received,
    last_at = excluded.last_at, generation = excluded.generation, ready_at = '-infinity', looked_for = false

-- name: end_salon
-- YCLIENTS said that a salon is not ours to ask any more. $1 companies, $2 why.
insert into @schema.pauses as p (company_id, reason)
select * from unnest($1::bigint[], $2::text[]) order by 1
on conflict (company_id) do update set reason = excluded.reason where p.reason is null

-- name: pending
-- A salon's hints that may be worked on, those that wait longest first. $1 company, $2 how many at most.
select resource, resource_id, status, generation, looked_for, extract(epoch from clock_timestamp() - first_at)::float8 as age_s,
       first_at
from @schema.hooks where company_id = $1 and ready_at <= now()
order by looked_for, first_at limit $2

-- name: lock_streams
-- A page of these streams commits before or after this, never at the same time: both write the same rows. $1 company, $2 streams.
select stream from @schema.sync_status where company_id = $1 and stream = any ($2::text[]) order by stream for update

-- name: done
-- These are worked on, unless they were told once more meanwhile. $1 company, $2 resources, $3 ids, $4 their generations.
with mine as (
    select h.company_id, h.resource, h.resource_id from @schema.hooks h
    join unnest($2::text[], $3::bigint[], $4::bigint[]) as t(resource, resource_id, generation) using (resource, resource_id)
    where h.company_id = $1 and h.generation = t.generation
    order by h.company_id, h.resource, h.resource_id for update of h
)
delete from @schema.hooks h using mine
where h.company_id = mine.company_id and h.resource = mine.resource and h.resource_id = mine.resource_id

-- name: later
-- These are looked at once more, in so many seconds. $1 to $4 as above, $5 seconds, $6 the list did not have them.
with mine as (
    select h.company_id, h.resource, h.resource_id from @schema.hooks h
    join unnest($2::text[], $3::bigint[], $4::bigint[]) as t(resource, resource_id, generation) using (resource, resource_id)
    where h.company_id = $1 and h.generation = t.generation
    order by h.company_id, h.resource, h.resource_id for update of h
)
update @schema.hooks h set ready_at = clock_timestamp() + make_interval(secs => $5::float8), looked_for = $6
from mine where h.company_id = mine.company_id and h.resource = mine.resource and h.resource_id = mine.resource_id

-- name: nudge
-- A delta of these streams is due now. One that is under way may have asked before the hint: another follows it. Lists are not
-- read again and again. A stream that has to read everything to find a change keeps to its cadence.
-- $1 companies, $2 streams, $3 since when the oldest hint waits, $4 priority, $5 seconds between two readings of the stream.
with chosen as (
    select s.company_id, s.stream, n.gap_s
    from unnest($1::bigint[], $2::text[], $5::float8[]) as n(company_id, stream, gap_s)
    join @schema.sync_status s on s.company_id = n.company_id and s.stream = n.stream
    where s.phase = 'live' and (s.due_at is not null or s.claimed_by is not null)
      and not coalesce((s.cursor ->> 'delta_ignored')::bool, false) and not coalesce((s.cursor ->> 'search')::bool, false)
    order by s.company_id, s.stream for update of s
)
update @schema.sync_status s
set nudged_at = clock_timestamp(), heard_at = least(s.heard_at, $3), priority = greatest(s.priority, $4),
    due_at = case when s.claimed_by is not null then s.due_at
                  when s.failures > 0 then s.due_at  -- it waits for the end of a trouble
                  else least(s.due_at, greatest(now(), s.last_success_at + make_interval(secs => c.gap_s))) end
from chosen c where s.company_id = c.company_id and s.stream = c.stream
returning s.company_id, s.stream

-- name: streams
-- How a salon's streams stand. $1 company. `nudged`: a delta that was asked for is not done.
select stream, phase, failures, nudged_at is not null as nudged,
       coalesce((cursor ->> 'delta_ignored')::bool, false) as whole, zone
from @schema.sync_status where company_id = $1 and stream <> 'hooks'

-- name: living
-- Of these rows those that the database has, and has not as deleted. $1 company, $2 ids.
select id from @schema.{table} where company_id = $1 and id = any ($2::bigint[]) and deleted_at is null

-- name: witness
-- A row that is likely to live: the one that was seen last. $1 company, $2 not one of these.
select id from @schema.{table} where company_id = $1 and deleted_at is null and not id = any ($2::bigint[])
order by observed_at desc limit 1

-- name: gone
-- A read confirmed that these are not there any more. $1 company, $2 ids, $3 when each was asked for. Both columns as in
-- sweep_apply (pages.sql).
update @schema.{table} t set deleted_at = g.observed_at, observed_at = clock_timestamp()
from unnest($2::bigint[], $3::timestamptz[]) as g(id, observed_at)
where t.company_id = $1 and t.id = g.id and t.deleted_at is null and t.observed_at < g.observed_at
returning t.id

-- name: flow
-- Since when nothing was heard of a salon, and whether its webhooks are not to be relied on. $1 company.
select extract(epoch from now() - heard_at)::float8 as silent_s, lossy_until > now() as lossy
from @schema.hooks_heard where company_id = $1

-- name: lossy
-- A delta found what no webhook had told. $1 company, $2 for so many seconds.
update @schema.hooks_heard set lossy_until = now() + make_interval(secs => $2::float8) where company_id = $1

-- name: waiting
select count(*) from @schema.hooks
