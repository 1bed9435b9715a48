-- name: prepare
-- Makes the slots of one egress address: $2 a second, $3 a minute. Slots beyond are left alone, nobody takes them.
with egress as (
    insert into @schema.limiter_egress (egress) values ($1) on conflict do nothing
)
insert into @schema.limiter_slots (egress, kind, slot)
select $1, 1, s from generate_series(0, $2::int - 1) s
union all
select $1, 60, s from generate_series(0, $3::int - 1) s
on conflict do nothing

-- name: acquire
-- Takes one slot of each window, or nothing. A slot taken is held until its lease ends ($5 seconds: the time-out of the
-- request and then some), so that a process that dies in the middle never frees a slot too early.
-- Of several, the last: the first ones are all that a smaller preset may take.
-- $1 egress, $2 per second, $3 per minute, $4 owner, $5 lease, $6 company, $7 the share of the minute that a first reading leaves
-- to whoever cannot wait (0: this one cannot, and takes what there is): until the k-th slot comes back there must be enough, with
-- those that come before it, for that share of what a minute brings in that time.
with gate as (
    -- PostgreSQL before 17 cannot subtract an infinite time, hence nullif.
    select least(1, slow_factor + greatest(0, extract(epoch from now() - nullif(slow_since, '-infinity'))) / 600) as factor,
        -- What others leave (see `heard`); null: nobody else was seen lately.
        case when others_at > now() - interval '65 s' then leaves_second end as leaves_second,
        case when others_at > now() - interval '65 s' then leaves_minute end as leaves_minute
    from @schema.limiter_egress e
    where e.egress = $1 and e.blocked_until <= now()
      and (e.held_until is null or not e.held_until between now() and now() + interval '60 s')
      and not exists (select from @schema.pauses p where p.company_id in (0, $6::bigint))
      and not exists (select from @schema.erasures x where x.company_id = $6::bigint and x.client_id is null and x.lifted_at is null)
), second as (
    select slot from @schema.limiter_slots
    where egress = $1 and kind = 1 and free_at <= now()
      and slot < (select greatest(1, least(floor($2::int * factor), leaves_second)) from gate)
    order by free_at, slot desc limit 1 for update skip locked
), most as (
    select greatest(1, least(floor($3::int * factor), leaves_minute)) as slots from gate
), slots as (
    select extract(epoch from greatest(now(), case when owner is null then free_at else least(free_at, now() + interval '60 s') end)
                              - now()) as in_s  -- free_at may be infinite, see above
    from @schema.limiter_slots
    where $7::float8 > 0 and egress = $1 and kind = 60 and slot < (select slots from most)
), kept as (
    select max($7::float8 * (select slots from most) / 60 * in_s - place + 1) as slots
    from (select in_s, row_number() over (order by in_s) as place from slots where in_s > 0) s
), minute as (
    select slot from @schema.limiter_slots
    where egress = $1 and kind = 60 and slot < (select slots from most) and free_at <= now()
      and ($7::float8 <= 0 or (select count(*) from slots where in_s <= 0) > coalesce((select slots from kept), 0))
      -- Slots beyond those that are left may be taken still, from before others were seen.
      and ((select leaves_minute from gate) is null or (select leaves_minute from gate) > (
          select count(*) from @schema.limiter_slots h where h.egress = $1 and h.kind = 60 and h.free_at > now()))
    order by free_at, slot desc limit 1 for update skip locked
)
update @schema.limiter_slots t
set free_at = now() + make_interval(secs => $5::float8 + t.kind), owner = $4, lease = t.lease + 1, used_at = now()
from second, minute, gate
where t.egress = $1 and ((t.kind = 1 and t.slot = second.slot) or (t.kind = 60 and t.slot = minute.slot))
returning t.kind, t.slot, t.lease, now() as at

-- name: release
-- The answer arrived: both slots are free one window from now. A lease that ended meanwhile is not touched.
-- $1 egress, $2 second's slot, $3 its lease, $4 minute's slot, $5 its lease.
update @schema.limiter_slots
set free_at = least(free_at, now() + make_interval(secs => kind)), owner = null
where egress = $1 and ((kind = 1 and slot = $2 and lease = $3) or (kind = 60 and slot = $4 and lease = $5))

-- name: abandoned
-- We hung up before an answer came: as if it had come $6 seconds from now, for the request may be on its way still.
update @schema.limiter_slots
set free_at = least(free_at, now() + make_interval(secs => kind + $6::float8)), owner = null
where egress = $1 and ((kind = 1 and slot = $2 and lease = $3) or (kind = 60 and slot = $4 and lease = $5))

-- name: unanswered
-- The request left some seconds ago and has no answer: the server has counted it by now, or never will, so its place in the
-- second is free one window from now. Its place in the minute waits for the answer. $1 egress, $2 second's slot, $3 its lease.
update @schema.limiter_slots
set free_at = least(free_at, now() + make_interval(secs => kind)), owner = null
where egress = $1 and kind = 1 and slot = $2 and lease = $3

-- name: unused
-- The request never left: both slots are free at once.
update @schema.limiter_slots
set free_at = now(), owner = null, used_at = '-infinity'
where egress = $1 and ((kind = 1 and slot = $2 and lease = $3) or (kind = 60 and slot = $4 and lease = $5))

-- name: wait
-- When is it worth asking again? `seconds` until both windows may have a slot; `paused`: this salon (paused, or erased), or 0 for all, or null.
-- A slot in flight (it has an owner) is free one window after its answer, so not before one window from now.
-- $1 egress, $2 per second, $3 per minute, $4 company, $5 the share, see acquire: what must be left falls with time, as fast as it
-- is kept for.
with gate as (
    select blocked_until, case when held_until <= now() + interval '60 s' then held_until end as held_until,
        least(1, slow_factor + greatest(0, extract(epoch from now() - nullif(slow_since, '-infinity'))) / 600) as factor,
        case when others_at > now() - interval '65 s' then leaves_second end as leaves_second,
        case when others_at > now() - interval '65 s' then leaves_minute end as leaves_minute
    from @schema.limiter_egress where egress = $1
), all_slots as (
    select kind, slot, case when owner is null then free_at else least(free_at, now() + make_interval(secs => kind)) end as free_at
    from @schema.limiter_slots where egress = $1
), slots as (
    select kind, free_at from all_slots, gate
    where slot < greatest(1, case kind when 1 then least(floor($2::int * factor), leaves_second)
                                       else least(floor($3::int * factor), leaves_minute) end)
), room as (
    select $5::float8 * (select greatest(1, least(floor($3::int * factor), leaves_minute)) from gate) / 60 as a_second,
        (select count(*) from slots where kind = 60 and free_at <= now()) as free
), kept as (
    select make_interval(secs => greatest(0, max(extract(epoch from free_at - now()) - (free + place - 1) / a_second))) as until
    from (select free_at, row_number() over (order by free_at) as place from slots where kind = 60 and free_at > now()) s, room
    where a_second > 0
)
select
    (select min(held) from (
        select p.company_id as held from @schema.pauses p where p.company_id in (0, $4::bigint)
        union all
        select x.company_id from @schema.erasures x where x.company_id = $4::bigint and x.client_id is null and x.lifted_at is null
    ) h) as paused,
    extract(epoch from greatest(
        now(),
        (select min(free_at) from slots where kind = 1),
        (select min(free_at) from slots where kind = 60),
        -- Fewer are taken than others leave when the last but so many of all slots is free.
        (select free_at from all_slots where kind = 60 and (select leaves_minute from gate) is not null
         order by free_at desc offset greatest(0, (select leaves_minute from gate) - 1) limit 1),
        now() + (select until from kept),
        (select held_until from gate),
        (select blocked_until from gate)
    ) - now())::float8 as seconds,
    now() as at

-- name: clock
select now() as at

-- name: jumped
-- The clock was put forward by $2 seconds at most: what was not free before is free so much later. Doing it twice only costs
-- time, and not much: nothing is held for longer than a new lease ($3 seconds) would be, which also mends a clock put back.
-- What the server asked for ($4 seconds at most) is kept over a restart; it is cut only where it was asked for in the future.
with egress as (
    update @schema.limiter_egress
    set blocked_until = least(blocked_until + case when blocked_until > now() - make_interval(secs => $2::float8)
                              then make_interval(secs => $2::float8) else interval '0' end,
                              now() + make_interval(secs => case when slow_since > now() then 600 else $4::float8 end)),
        slow_since = least(slow_since, now())
    where egress = $1 and ($2::float8 > 0 or blocked_until > now() + make_interval(secs => $4::float8) or slow_since > now())
)
update @schema.limiter_slots
set free_at = least(free_at + make_interval(secs => $2::float8), now() + make_interval(secs => $3::float8 + kind))
where egress = $1 and free_at > now() - make_interval(secs => $2::float8)
  and ($2::float8 > 0 or free_at > now() + make_interval(secs => $3::float8 + kind))

-- name: throttled
-- The server said "too many": nobody behind this address sends for $2 seconds; then slower, recovering over ten minutes.
update @schema.limiter_egress
set blocked_until = greatest(blocked_until, now() + make_interval(secs => $2::float8)),
    slow_factor = case when slow_since > now() - interval '5 seconds' then slow_factor
                       else greatest(0.1, 0.7 * least(1, slow_factor + greatest(0, extract(epoch from now() - nullif(slow_since, '-infinity'))) / 600)) end,
    slow_since = case when slow_since > now() - interval '5 seconds' then slow_since else now() end,
    throttled = throttled + 1
where egress = $1

-- name: heard
-- An answer told of the limit: keep what it said, and say how many slots are taken that its request may have been counted beside.
-- A slot that is free since before a request left belongs to one that was answered more than a window earlier.
-- What others use is the most that any process found within ten seconds.
-- $1 egress, $2 when the request left, $3 limit, $4 remaining, $5 seconds until reset (null: not said), $6 requests a minute of
-- others (null: none seen), $7 and $8 what they leave of a second and a minute, $9 the other budgets that share this one's limit,
-- $10 whether to count the slots of other budgets too.
with told as (
    update @schema.limiter_egress e
    set server_limit = $3, server_remaining = $4, server_said_at = now(), server_resets_at = now() + make_interval(secs => $5::float8),
        others = case when fresh then $6 else others end,
        others_at = case when fresh then case when $6::int is not null then now() end else others_at end,
        leaves_second = case when fresh then $7 else leaves_second end,
        leaves_minute = case when fresh then $8 else leaves_minute end,
        shares_with = $9::text[],
        shares_at = case when $9::text[] is not null then now() end
    from (
        select coalesce(others_at < now() - interval '10 s', true) or coalesce(others <= $6::int, false) as fresh
        from @schema.limiter_egress where egress = $1
    ) f
    where e.egress = $1
)
select egress, count(*) as taken from @schema.limiter_slots
where kind = 60 and free_at > $2 and (egress = $1 or $10::boolean) group by egress

-- name: hold
-- Others have used up the minute: nobody behind this address sends for $2 seconds, 60 at most. $1 egress.
update @schema.limiter_egress
set held_until = greatest(case when held_until <= now() + interval '60 s' then held_until end, now() + make_interval(secs => $2::float8))
where egress = $1

-- name: usage
-- Requests that left in the last second and minute, behind one address.
select count(*) filter (where kind = 1 and used_at > now() - interval '1 second') as second,
       count(*) filter (where kind = 60 and used_at > now() - interval '60 seconds') as minute
from @schema.limiter_slots where egress = $1
