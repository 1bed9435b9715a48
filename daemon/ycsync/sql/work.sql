-- name: ensure
-- A row for each salon and stream; those that are there stay as they are. $1 companies, $2 streams.
-- `hooks` is no stream but a queue: always live, before deltas ($3: its priority), and due when something waits in it.
insert into @schema.sync_status (company_id, stream, due_at, phase, priority)
select c, s, case when s <> 'companies' or c = 0 then now() end, case s when 'hooks' then 'live' else 'new' end,
       case s when 'hooks' then $3::int else 0 end
from unnest($1::bigint[]) c cross join unnest($2::text[]) s
where not exists (select from @schema.erasures e where e.company_id = c and e.client_id is null and e.lifted_at is null)
on conflict do nothing

-- name: erased
-- Salons that must not be read.
select company_id, min(erased_at) as erased_at from @schema.erasures where client_id is null and lifted_at is null group by company_id

-- name: claim
-- Takes work that is due, so that no salon starves another: within a priority what has not begun before a first pass that has had
-- a turn (a small salon never waits for the size of a large one), then the longest overdue. But where there is more to do than
-- requests, something is always due that has not begun, or a delta: a first pass goes before what is due five minutes later.
-- $1 worker, $2 how many, $3 streams, $4 companies (null: all), $5 only what a command asked for, $6 only what is quick:
-- no filling, and nothing that failed last, for it may hang. A worker that was given up takes nothing until it has a new number.
-- Hints of webhooks are due when there are some: whoever keeps one touches nothing that a page under way holds.
-- Each of the six walks along its own index and ends after $2 rows, however many are due or wait: salons that are still to be
-- filled do not stand in the way of deltas. What each locks beyond $2 in all is free again when the statement ends.
with hinted as (
    select company_id, stream, priority, phase, due_at from @schema.sync_status s
    where claimed_by is null and stream = 'hooks' and (not $6::bool or failures = 0)
      and company_id in (select h.company_id from @schema.hooks h where h.ready_at <= now())
      and due_at <= now() and (stream = any ($3::text[]) or wanted_at is not null)
      and ($4::bigint[] is null or company_id = any ($4) or company_id = 0)
      and (not $5::bool or wanted_at is not null)
      and not exists (select from @schema.pauses where company_id = 0)
      and not exists (select from @schema.pauses p where p.company_id = s.company_id)
      and exists (select from @schema.workers w where w.id = $1)
    order by priority desc, due_at, company_id limit $2
    for update skip locked
), urgent as (
    select company_id, stream, priority, phase, due_at from @schema.sync_status s
    where claimed_by is null and stream <> 'hooks' and priority > 0 and (not $6::bool or (phase = 'live' and failures = 0))
      and due_at <= now() and (stream = any ($3::text[]) or wanted_at is not null)
      and ($4::bigint[] is null or company_id = any ($4) or company_id = 0)
      and (not $5::bool or wanted_at is not null)
      and not exists (select from @schema.pauses where company_id = 0)
      and not exists (select from @schema.pauses p where p.company_id = s.company_id)
      and exists (select from @schema.workers w where w.id = $1)
    order by priority desc, phase in ('filling', 'closing'), due_at, company_id limit $2
    for update skip locked
), quick as (
    select company_id, stream, priority, phase, due_at from @schema.sync_status s
    where claimed_by is null and stream <> 'hooks' and phase = 'live' and failures = 0 and priority <= 0
      and due_at <= now() and (stream = any ($3::text[]) or wanted_at is not null)
      and ($4::bigint[] is null or company_id = any ($4) or company_id = 0)
      and (not $5::bool or wanted_at is not null)
      and not exists (select from @schema.pauses where company_id = 0)
      and not exists (select from @schema.pauses p where p.company_id = s.company_id)
      and exists (select from @schema.workers w where w.id = $1)
    order by due_at, company_id limit $2
    for update skip locked
), fresh as (
    select company_id, stream, priority, phase, due_at from @schema.sync_status s
    where claimed_by is null and stream <> 'hooks' and phase in ('new', 'stopped') and failures = 0 and not $6::bool and priority <= 0
      and due_at <= now() and (stream = any ($3::text[]) or wanted_at is not null)
      and ($4::bigint[] is null or company_id = any ($4) or company_id = 0)
      and (not $5::bool or wanted_at is not null)
      and not exists (select from @schema.pauses where company_id = 0)
      and not exists (select from @schema.pauses p where p.company_id = s.company_id)
      and exists (select from @schema.workers w where w.id = $1)
    order by due_at, company_id limit $2
    for update skip locked
), failed as (
    select company_id, stream, priority, phase, due_at from @schema.sync_status s
    where claimed_by is null and stream <> 'hooks' and phase in ('new', 'stopped', 'live') and failures > 0 and not $6::bool and priority <= 0
      and due_at <= now() and (stream = any ($3::text[]) or wanted_at is not null)
      and ($4::bigint[] is null or company_id = any ($4) or company_id = 0)
      and (not $5::bool or wanted_at is not null)
      and not exists (select from @schema.pauses where company_id = 0)
      and not exists (select from @schema.pauses p where p.company_id = s.company_id)
      and exists (select from @schema.workers w where w.id = $1)
    order by due_at, company_id limit $2
    for update skip locked
), begun as (
    select company_id, stream, priority, phase, due_at from @schema.sync_status s
    where claimed_by is null and stream <> 'hooks' and phase in ('filling', 'closing') and not $6::bool and priority <= 0
      and due_at <= now() and (stream = any ($3::text[]) or wanted_at is not null)
      and ($4::bigint[] is null or company_id = any ($4) or company_id = 0)
      and (not $5::bool or wanted_at is not null)
      and not exists (select from @schema.pauses where company_id = 0)
      and not exists (select from @schema.pauses p where p.company_id = s.company_id)
      and exists (select from @schema.workers w where w.id = $1)
    order by due_at, company_id limit $2
    for update skip locked
), due as (
    select company_id, stream from (
        select * from hinted union all select * from urgent union all select * from quick
        union all select * from fresh union all select * from failed union all select * from begun
    ) found
    order by priority desc, due_at + case when phase in ('filling', 'closing') then interval '5 minutes' else interval '0' end, company_id
    limit $2
), taken as (
    update @schema.sync_status s set claimed_by = $1, claimed_at = clock_timestamp()
    from due where s.company_id = due.company_id and s.stream = due.stream
    returning s.company_id, s.stream, s.phase, s.expected, s.done, s.cursor::text as cursor, s.version, s.last_success_at,
        s.proved_as_of, s.failures, s.pass_started_at, s.wanted_at, s.options::text as options, s.priority, s.batches, s.due_at,
        extract(epoch from s.claimed_at - s.heard_at)::float8 as heard_s, s.nudged_at is not null as nudged, s.zone, s.error_code,
        -- The common user token is refused: seconds until the list of salons shows whether it still is (null: it is not refused).
        (select case when l.claimed_by is not null then 0 else greatest(0, extract(epoch from l.due_at - now())) end
         from @schema.sync_status l where l.company_id = 0 and l.stream = 'companies' and l.phase = 'stopped'
             and l.error_code = 'http_401')::float8 as list_s
)
select * from taken
order by priority desc, due_at + case when phase in ('filling', 'closing') then interval '5 minutes' else interval '0' end, company_id

-- name: waits
-- The highest priority of what is due and waits for a place (null: nothing), see claim: of what is quick, of the rest, and of what
-- of that has not begun. One row of each kind tells: it walks along the same indexes.
-- $1 streams, $2 companies (null: all), $3 only what a command asked for.
with found as (
    (select priority, phase = 'live' and failures = 0 as quick, phase in ('new', 'stopped') and failures = 0 as fresh
     from @schema.sync_status s where claimed_by is null and stream = 'hooks'
      and company_id in (select h.company_id from @schema.hooks h where h.ready_at <= now())
      and due_at <= now() and (stream = any ($1::text[]) or wanted_at is not null)
      and ($2::bigint[] is null or company_id = any ($2) or company_id = 0)
      and (not $3::bool or wanted_at is not null)
      and not exists (select from @schema.pauses where company_id = 0)
      and not exists (select from @schema.pauses p where p.company_id = s.company_id)
     order by priority desc limit 1)
    union all
    (select priority, phase = 'live' and failures = 0 as quick, phase in ('new', 'stopped') and failures = 0 as fresh
     from @schema.sync_status s where claimed_by is null and stream <> 'hooks' and priority > 0 and phase = 'live' and failures = 0
      and due_at <= now() and (stream = any ($1::text[]) or wanted_at is not null)
      and ($2::bigint[] is null or company_id = any ($2) or company_id = 0)
      and (not $3::bool or wanted_at is not null)
      and not exists (select from @schema.pauses where company_id = 0)
      and not exists (select from @schema.pauses p where p.company_id = s.company_id)
     order by priority desc limit 1)
    union all
    (select priority, phase = 'live' and failures = 0 as quick, phase in ('new', 'stopped') and failures = 0 as fresh
     from @schema.sync_status s where claimed_by is null and stream <> 'hooks' and priority > 0 and phase in ('new', 'stopped') and failures = 0
      and due_at <= now() and (stream = any ($1::text[]) or wanted_at is not null)
      and ($2::bigint[] is null or company_id = any ($2) or company_id = 0)
      and (not $3::bool or wanted_at is not null)
      and not exists (select from @schema.pauses where company_id = 0)
      and not exists (select from @schema.pauses p where p.company_id = s.company_id)
     order by priority desc limit 1)
    union all
    (select priority, phase = 'live' and failures = 0 as quick, phase in ('new', 'stopped') and failures = 0 as fresh
     from @schema.sync_status s where claimed_by is null and stream <> 'hooks' and priority > 0 and (phase <> 'live' or failures > 0)
      and due_at <= now() and (stream = any ($1::text[]) or wanted_at is not null)
      and ($2::bigint[] is null or company_id = any ($2) or company_id = 0)
      and (not $3::bool or wanted_at is not null)
      and not exists (select from @schema.pauses where company_id = 0)
      and not exists (select from @schema.pauses p where p.company_id = s.company_id)
     order by priority desc limit 1)
    union all
    (select priority, phase = 'live' and failures = 0 as quick, phase in ('new', 'stopped') and failures = 0 as fresh
     from @schema.sync_status s where claimed_by is null and stream <> 'hooks' and phase = 'live' and failures = 0 and priority <= 0
      and due_at <= now() and (stream = any ($1::text[]) or wanted_at is not null)
      and ($2::bigint[] is null or company_id = any ($2) or company_id = 0)
      and (not $3::bool or wanted_at is not null)
      and not exists (select from @schema.pauses where company_id = 0)
      and not exists (select from @schema.pauses p where p.company_id = s.company_id)
     order by due_at limit 1)
    union all
    (select priority, phase = 'live' and failures = 0 as quick, phase in ('new', 'stopped') and failures = 0 as fresh
     from @schema.sync_status s where claimed_by is null and stream <> 'hooks' and phase in ('new', 'stopped') and failures = 0 and priority <= 0
      and due_at <= now() and (stream = any ($1::text[]) or wanted_at is not null)
      and ($2::bigint[] is null or company_id = any ($2) or company_id = 0)
      and (not $3::bool or wanted_at is not null)
      and not exists (select from @schema.pauses where company_id = 0)
      and not exists (select from @schema.pauses p where p.company_id = s.company_id)
     order by due_at limit 1)
    union all
    (select priority, phase = 'live' and failures = 0 as quick, phase in ('new', 'stopped') and failures = 0 as fresh
     from @schema.sync_status s where claimed_by is null and stream <> 'hooks' and phase in ('new', 'stopped', 'live') and failures > 0
      and priority <= 0
      and due_at <= now() and (stream = any ($1::text[]) or wanted_at is not null)
      and ($2::bigint[] is null or company_id = any ($2) or company_id = 0)
      and (not $3::bool or wanted_at is not null)
      and not exists (select from @schema.pauses where company_id = 0)
      and not exists (select from @schema.pauses p where p.company_id = s.company_id)
     order by due_at limit 1)
    union all
    (select priority, phase = 'live' and failures = 0 as quick, phase in ('new', 'stopped') and failures = 0 as fresh
     from @schema.sync_status s where claimed_by is null and stream <> 'hooks' and phase in ('filling', 'closing') and priority <= 0
      and due_at <= now() and (stream = any ($1::text[]) or wanted_at is not null)
      and ($2::bigint[] is null or company_id = any ($2) or company_id = 0)
      and (not $3::bool or wanted_at is not null)
      and not exists (select from @schema.pauses where company_id = 0)
      and not exists (select from @schema.pauses p where p.company_id = s.company_id)
     order by due_at limit 1)
)
select max(priority) filter (where quick) as quick, max(priority) filter (where not quick) as slow,
       max(priority) filter (where fresh) as fresh
from found

-- name: finish
-- The batch is over. $4 seconds until the next one (null: never by itself). $5 how long that may be, if not the cadence.
-- A wish is served by the success of a batch that began after it; one that came in the middle is due at once. So is what a
-- webhook asked for; what it asked for of a stream that is switched off meanwhile is forgotten.
-- $6 the priority of what a webhook asked for and is not served yet; of its queue the priority stays.
-- $7 the zone by which the batch read (null: it did not): if the salon has another one by now, its stored times are due.
-- What was proved on the way serves no wish while a reading is under way: the look at the count asked for another one.
with served as (
    select company_id, stream,
           wanted_at is null or (last_success_at >= wanted_at and claimed_at >= wanted_at
                                 and not coalesce(cursor ?| array['scan', 'sweep'], false)) as yes,
           nudged_at is null or $4::float8 is null or (last_success_at >= claimed_at and claimed_at >= nudged_at) as heard,
           wanted_at > claimed_at or ($4::float8 is not null and nudged_at > claimed_at)
           or ($4::float8 is not null and $7 <> (
               select case when c.timezone_known then c.timezone else '' end from @schema.companies c where c.id = $1)) as late
    from @schema.sync_status where company_id = $1 and stream = $2 and claimed_by = $3 for update
)
update @schema.sync_status s
set claimed_by = null, claimed_at = null, batches = batches + 1,
    due_at = case when late then now() when $4::float8 is null then null
                  else clock_timestamp() + make_interval(secs => $4::float8) end,
    wanted_at = case when yes then null else wanted_at end,
    nudged_at = case when heard then null else nudged_at end,
    -- Those that came later than the claim are what is left of it.
    heard_at = case when heard then null when late then greatest(heard_at, claimed_at) else heard_at end,
    cadence_s = $5::float8,
    priority = case when not yes then priority when s.stream = 'hooks' or not heard then $6::int else 0 end,
    options = case when yes then '{}' else options end
from served where s.company_id = served.company_id and s.stream = served.stream

-- name: fail
-- $3 worker, $4 seconds until the next try (null: never by itself), $5 what happened, $6 its code, $7 phase (null: as it was),
-- $8 failures in a row (null: one more).
update @schema.sync_status
set claimed_by = null, claimed_at = null, batches = batches + 1, failures = coalesce($8::int, failures + 1),
    due_at = clock_timestamp() + make_interval(secs => $4::float8), updated_at = clock_timestamp(),
    last_error = $5, error_code = $6, error_since = coalesce(error_since, clock_timestamp()), phase = coalesce($7, phase)
where company_id = $1 and stream = $2 and claimed_by = $3

-- name: others_reach
-- Does another service get answers of YCLIENTS while worker $1 does not? Then it is not YCLIENTS that is in trouble.
select exists (
    select from @schema.sync_batches b join @schema.workers w on w.id = b.worker_id
    where b.worker_id <> $1 and w.role = 'service' and w.beat_at > now() - interval '10 seconds'
      and b.outcome in ('more', 'proved') and b.requests > 0
      and b.finished_at > now() - interval '1 minute' and b.started_at > now() - interval '10 minutes'
)

-- name: hand_over
-- Another service can do what this one cannot: due at once, and no failure of the stream's. $3 worker.
update @schema.sync_status set claimed_by = null, claimed_at = null, due_at = now()
where company_id = $1 and stream = $2 and claimed_by = $3

-- name: stop_company
-- A token, the licence or the salon itself is refused: every stream of the salon stops, unless it is switched off. One of them
-- looks again after $2 seconds: the one that was about to (what a command waits for first), or the first by name. The others
-- wait an hour longer, and are woken when it succeeds (unstop). Batches that are refused at the same time choose the same one.
-- $1 company, $3 what happened, $4 its code, $5 failures in a row (null: one more).
with free as (
    select stream, wanted_at, due_at,
           phase = 'stopped' and error_code is distinct from 'no_right'
               and due_at <= clock_timestamp() + make_interval(secs => $2::float8) as looks
    from @schema.sync_status where company_id = $1 and stream <> 'companies' and claimed_by is null order by stream for update
), chosen as (
    select stream, looks from free where due_at is not null and stream <> 'hooks'
    order by wanted_at is null, case when looks then due_at end, stream limit 1
)
update @schema.sync_status s
set phase = 'stopped', last_error = $3, error_code = $4, error_since = coalesce(error_since, clock_timestamp()),
    failures = case when phase = 'stopped' then greatest(failures, coalesce($5::int, failures + 1)) else coalesce($5::int, 1) end,
    updated_at = clock_timestamp(),
    due_at = case when s.due_at is null then null
                  when s.stream = (select stream from chosen where looks) then s.due_at
                  when s.stream = (select stream from chosen) then clock_timestamp() + make_interval(secs => $2::float8)
                  else greatest(s.due_at, clock_timestamp() + make_interval(secs => $2::float8, hours => 1)) end
from free where s.company_id = $1 and s.stream = free.stream and s.claimed_by is null

-- name: unstop
-- The salon answers again: its other streams need not wait, but those that lack a right. $1 company.
update @schema.sync_status set due_at = now()
where company_id = $1 and phase = 'stopped' and claimed_by is null and due_at is not null
  and error_code is distinct from 'no_right'

-- name: all_stopped
-- Is no stream of the salon left that is read? $1 company.
select not exists (
    select from @schema.sync_status where company_id = $1 and stream not in ('companies', 'hooks') and phase <> 'stopped'
        and (due_at is not null or claimed_by is not null)
)

-- name: ask_list
-- A salon refuses the common user token: the list of salons tells whether it is refused for all. $1 the priority that it gets.
update @schema.sync_status set due_at = least(due_at, now()), priority = greatest(priority, $1::int)
where company_id = 0 and stream = 'companies' and claimed_by is null
  and (last_success_at is null or last_success_at < now() - interval '1 minute') and error_code is null

-- name: list_again
-- A salon is wanted that the list does not hold: the list is read again, but not all the time.
update @schema.sync_status set due_at = least(due_at, now())
where company_id = 0 and stream = 'companies' and claimed_by is null
  and (last_success_at is null or last_success_at < now() - interval '5 minutes') and error_code is null

-- name: begin
-- The salons are known now: what waited for that begins. $1 companies.
update @schema.sync_status set due_at = now()
where company_id = any ($1::bigint[]) and phase = 'new' and claimed_by is null and due_at > now() and error_code is null

-- name: next_due
-- Seconds until something is due that nobody works on.
select extract(epoch from min(due_at) - now())::float8
from @schema.sync_status
where claimed_by is null and stream = any ($1::text[]) and ($2::bigint[] is null or company_id = any ($2) or company_id = 0)
  and (not $3::bool or wanted_at is not null)

-- name: want
-- A command asks for a pass, now. $1 companies, $2 streams, $3 options (`by`: the command, as a worker), $4 true: from the
-- beginning, over existing rows.
update @schema.sync_status
set wanted_at = clock_timestamp(), due_at = case when claimed_by is null then now() else due_at end, priority = 100,
    options = $3::text::jsonb, batches = 0,
    cursor = case when $4 then null else cursor end, version = version + case when $4 then 1 else 0 end,
    phase = case when $4 then 'new' when phase = 'stopped' then 'new' else phase end,
    done = case when $4 then 0 else done end, failures = 0, last_error = held_back,
    error_code = case when held_back is not null then 'held_back' end, error_since = case when held_back is not null then error_since end
where (company_id, stream) in (select c, s from unnest($1::bigint[]) c cross join unnest($2::text[]) s)
returning company_id, stream, wanted_at

-- name: wake
-- What waits after an error is tried again at once: all of it (a start, a reload), or what has the code $1 (null: any). Of a
-- salon that is stopped as a whole one stream looks, the one that would have looked next.
with looks as (
    select distinct on (company_id) company_id, stream from @schema.sync_status
    where phase = 'stopped' and error_code is distinct from 'no_right' and claimed_by is null and due_at is not null
      and stream <> 'hooks' and ($1::text is null or error_code = $1)
    order by company_id, due_at, stream
)
update @schema.sync_status set due_at = now()
where claimed_by is null and due_at > now() and ($1::text is null or error_code = $1)
  and ((error_code is not null and (phase <> 'stopped' or error_code = 'no_right'))
       or (company_id, stream) in (select company_id, stream from looks))

-- name: recadence
-- A changed preset or cadence applies to what waits already: nothing waits longer than its new interval. $1 stream, $2 seconds,
-- $3 salons that have an interval of their own, and $4 theirs.
update @schema.sync_status s set due_at = least(due_at, now() + make_interval(secs => coalesce(
    (select own.seconds from unnest($3::bigint[], $4::float8[]) as own(company, seconds) where own.company = s.company_id),
    $2::float8)))
where stream = $1 and claimed_by is null and due_at is not null and error_code is null

-- name: progress
select company_id, stream, phase, expected, done, requests, last_success_at, last_error, error_code, wanted_at, claimed_by,
    batches, failures, due_at is not null or claimed_by is not null as scheduled
from @schema.sync_status
where ($1::bigint[] is null or company_id = any ($1)) and stream = any ($2::text[])
order by company_id, stream

-- name: companies
-- $1 those that are switched off too.
select id, title, timezone, active from @schema.companies where deleted_at is null and (active or $1::bool) order by id

-- name: enabled
-- Streams and salons that are not wanted any more are not due any more; those wanted again are due now.
-- What a command asked for runs whatever the schedule says.
-- $1 streams that are on, $2 companies (null: all that are known and active).
update @schema.sync_status s
set due_at = case when s.stream = any ($1::text[]) and (s.company_id = 0 or $2::bigint[] is null or s.company_id = any ($2)) then now() end
where claimed_by is null and wanted_at is null
  and (due_at is null) = (s.stream = any ($1::text[]) and (s.company_id = 0 or $2::bigint[] is null or s.company_id = any ($2)))
  and not (s.stream = 'companies' and s.company_id <> 0)

-- name: company_listed
-- The list of salons was read: each salon's own row says so.
update @schema.sync_status set phase = 'live', done = 1, expected = 1, last_success_at = clock_timestamp(), proved_as_of = $2,
    due_at = null, last_error = null, error_code = null, error_since = null, wanted_at = null
where stream = 'companies' and company_id = any ($1::bigint[])

-- name: register
-- $8 the address of its machine by which its requests leave; $9 true: no pooler stands between, so the session's other end is it.
insert into @schema.workers (role, host, pid, pid_start, egress, version, info, address, seen_from)
values ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, case when $9::bool then host(inet_client_addr()) end) returning id

-- name: beat
update @schema.workers set beat_at = clock_timestamp(), info = coalesce($2::text::jsonb, info) where id = $1 returning id

-- name: leave
-- This worker ends in order, its connections to the API closed: what it drops is not lost. A lease that was granted while its
-- asking was cut off is nobody's: its slots are free one window after what is on its way ($2 seconds). $1 worker.
with batches as (
    update @schema.sync_batches set outcome = 'stopped', finished_at = now() where finished_at is null and worker_id = $1
), slots as (
    update @schema.limiter_slots set free_at = least(free_at, now() + make_interval(secs => kind + $2::float8)), owner = null
    where owner = $1
)
delete from @schema.workers where id = $1

-- name: give_back
-- What a worker held that has left. Its last page may still be on its way to be dropped: that is waited for. $1 worker.
update @schema.sync_status set claimed_by = null, claimed_at = null,
    due_at = case when due_at > now() and (wanted_at is null or wanted_at <= claimed_at)
                       and (nudged_at is null or nudged_at <= claimed_at) then due_at else now() end
where claimed_by = $1

-- name: local_workers
select id, pid, pid_start from @schema.workers where host = $1

-- name: reap
-- Workers that are gone: $1 those known to be dead (their process does not exist), and those silent for $2 seconds.
delete from @schema.workers where id = any ($1::bigint[]) or beat_at < now() - make_interval(secs => $2::float8)
returning id

-- name: unclaim
-- Work of workers that are no more is due again.
-- Proved before they died (then it is due in the future), it is not asked again, unless a wish came in the middle.
-- A machine that was cut off in the middle of a page leaves its row locked until the server gives its session up: the rest must
-- not wait for that.
-- The version moves: a worker that was only silent commits nothing more of this claim, whose `claimed_at` readers of what changed
-- go by.
with lost as (
    select company_id, stream from @schema.sync_status s
    where claimed_by is not null and not exists (select from @schema.workers w where w.id = s.claimed_by)
    for update skip locked
)
update @schema.sync_status s set claimed_by = null, claimed_at = null, version = version + 1,
    due_at = case when due_at > now() and (wanted_at is null or wanted_at <= claimed_at)
                       and (nudged_at is null or nudged_at <= claimed_at) then due_at else now() end
from lost where s.company_id = lost.company_id and s.stream = lost.stream
returning s.company_id, s.stream

-- name: free_slots
-- Requests of processes known to be dead: their sockets are closed, so nothing arrives but what is on its way ($2 seconds).
-- One window after that their slots are free, instead of at the end of their leases.
update @schema.limiter_slots set free_at = least(free_at, now() + make_interval(secs => kind + $2::float8)), owner = null
where owner = any ($1::bigint[])

-- name: close_batches
update @schema.sync_batches set outcome = 'lost', finished_at = now()
where finished_at is null and not exists (select from @schema.workers w where w.id = worker_id)

-- name: open_batch
insert into @schema.sync_batches (company, stream, preset, worker_id, started_at)
values ($1, $2, $3, $4, clock_timestamp()) returning id

-- name: close_batch
update @schema.sync_batches
set finished_at = clock_timestamp(), outcome = $2, requests = $3, rows = $4, errors = $5, retries = $6, throttled = $7, detail = $8
where id = $1

-- name: forget_batches
-- A year of history is enough; a quiet delta is forgotten after a week.
delete from @schema.sync_batches
where started_at < now() - interval '365 days' or (started_at < now() - interval '7 days' and rows = 0 and errors = 0)

-- name: forget_hooks
-- Hints that nobody works on: of a salon that is held or not wanted. A night's sweep brings what they told, should it come back.
delete from @schema.hooks where last_at < now() - interval '7 days'

-- name: services
select id, host, pid, info::text as info from @schema.workers
where role = 'service' and beat_at > now() - interval '10 seconds'

-- name: pause
insert into @schema.pauses (company_id) select unnest($1::bigint[]) on conflict do nothing

-- name: resume
-- $1 companies (0: all that commands hold). What YCLIENTS took away is asked again only by name.
delete from @schema.pauses where company_id = any ($1::bigint[]) or (0 = any ($1::bigint[]) and reason is null)

-- name: pauses
select company_id, since, reason from @schema.pauses order by company_id

-- name: unwant
-- The command that asked is gone: its wishes and options with it, nobody else's. $1 companies, $2 streams, $3 when it wished.
update @schema.sync_status
set wanted_at = null, priority = 0, options = '{}', due_at = case when due_at is null then null else least(due_at, now()) end
where (company_id, stream, wanted_at) in (select * from unnest($1::bigint[], $2::text[], $3::timestamptz[]))

-- name: release
-- Work that this worker holds but does not do (the database was away when it ended). $2 and $3: what it does.
with left_over as (
    select company_id, stream from @schema.sync_status
    where claimed_by = $1 and (company_id, stream) not in (select * from unnest($2::bigint[], $3::text[]))
    for update skip locked
)
update @schema.sync_status s set claimed_by = null, claimed_at = null, due_at = now()
from left_over l where s.company_id = l.company_id and s.stream = l.stream

-- name: unwant_dead
-- Commands that are gone without a word: as above, or the service would keep to a dead command's pace.
with dead as (
    select company_id, stream from @schema.sync_status s
    where options ? 'by' and not exists (select from @schema.workers w where w.id = (s.options->>'by')::bigint)
    for update skip locked
)
update @schema.sync_status s
set wanted_at = null, priority = 0, options = '{}', due_at = case when due_at is null then null else least(due_at, now()) end
from dead where s.company_id = dead.company_id and s.stream = dead.stream

-- name: close_undone
-- Batches of this worker whose end could not be written (the database was away). $1 worker, $2 and $3: what it does.
update @schema.sync_batches b set outcome = 'lost', finished_at = now()
where finished_at is null and worker_id = $1
  and ((company, stream) not in (select * from unnest($2::bigint[], $3::text[]))
       or exists (select from @schema.sync_batches later
                  where later.worker_id = b.worker_id and later.company = b.company and later.stream = b.stream
                    and later.id > b.id))
