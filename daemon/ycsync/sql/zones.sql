-- name: lock
-- No page of the stream commits until this transaction ends. $1 company, $2 stream, $3 version.
select version from @schema.sync_status where company_id = $1 and stream = $2 and version = $3 for update

-- name: fence
-- A page that is under way was read by the former zone: it must not commit any more. $1 company, $2 stream, $3 version.
update @schema.sync_status set version = version + 1 where company_id = $1 and stream = $2 and version = $3 returning version

-- name: slice
-- The next rows. $1 company, $2 after this id, $3 how many.
select id from @schema.{table} where company_id = $1 and id > $2 order by id limit $3

-- name: recompute
-- Times of one slice that were read by the salon's clock are read again, as model/times.py does it; the integration test compares.
-- A text with an offset means the same in every zone. What is not written in the usual way is returned: Python reads it.
-- $1 company, $2 after this id, $3 up to this one, $4 the zone. {…} are filled in by store/zones.py.
-- Where the clock shows an hour twice PostgreSQL means the later one: the earlier one is meant unless `stamped` has the offset of
-- the later one. What the clock skips is read by the offset before, by both.
with texts as (
    select t.id, c.name, c.said, c.stamped
    from @schema.{table} t cross join lateral (values {texts}) as c(name, stored, said, stamped)
    where t.company_id = $1 and t.id > $2 and t.id <= $3 and c.stored is not null
      and c.said !~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.]\d{1,6})?)?(Z|[+-]\d\d:?\d\d)$'
), walls as (
    select id, name, stamped,
           case when said ~ '^\d{4}-\d\d-\d\d([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d([.]\d{1,6})?)?)?$'
                then said::timestamp end as wall
    from texts
), later as (
    select id, name, stamped, wall, wall at time zone $4 as instant,
           ((wall at time zone $4) - interval '1 day') at time zone $4
               - ((wall at time zone $4) - interval '1 day') at time zone 'UTC' as before
    from walls
), candidates as (
    select id, name, stamped, wall, instant, (wall - before) at time zone 'UTC' as earlier from later
), times as (
    select id, name, case
        when earlier < instant and earlier at time zone $4 = wall then case
            when stamped ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.]\d{1,6})?)?(Z|[+-]\d\d:?\d\d)$'
            then case when stamped::timestamp - stamped::timestamptz at time zone 'UTC' = wall - instant at time zone 'UTC'
                      then instant else earlier end
            when stamped is null or btrim(stamped) = ''
              or stamped ~ '^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.]\d{1,6})?)?)?$'
            then earlier
        end else instant end as instant
    from candidates
), found as (
    select id, bool_or(instant is null) as odd, {picked} from times group by id
), written as (
    update @schema.{table} t set {assigned}, observed_at = greatest(t.observed_at, clock_timestamp())
    from found f
    where t.company_id = $1 and t.id = f.id and not f.odd and ({new}) is distinct from ({old})
    returning t.id
)
select (select count(*) from written) as changed, array(select id from found where odd) as odd

-- name: payloads
-- $1 company, $2 ids.
select id, raw::text as raw from @schema.{table} where company_id = $1 and id = any ($2::bigint[])

-- name: rewrite
-- Times that Python read. $1 company, $2 ids, $3… one array a column.
update @schema.{table} t set {given}, observed_at = greatest(t.observed_at, clock_timestamp())
from unnest({arrays}) as n(id, {names})
where t.company_id = $1 and t.id = n.id and ({stored}) is distinct from ({incoming})

-- name: settle
-- The stream's times are all those of the zone $4. $1 company, $2 stream, $3 version, $5 the cursor from now on.
-- A stream that has not begun has no page that could be under way.
update @schema.sync_status
set zone = $4, cursor = $5::text::jsonb, version = version + case when $5::text is null then 0 else 1 end
where company_id = $1 and stream = $2 and version = $3
returning version

-- name: forget_missing
-- The reading that missed them begins anew. $1 company, $2 stream.
delete from @schema.sweep_missing where company_id = $1 and stream = $2

-- name: due
-- Salons whose zone is another one now: their streams are due, whenever they would have been. What is claimed or locked is found
-- when its batch ends, or meets the other zone when it commits.
with moved as (
    select s.company_id, s.stream from @schema.sync_status s
    join @schema.companies c on c.id = s.company_id
    where s.zone is not null and s.zone <> case when c.timezone_known then c.timezone else '' end
      and s.claimed_by is null and s.due_at > now()
    for update of s skip locked
)
update @schema.sync_status s set due_at = now() from moved m where s.company_id = m.company_id and s.stream = m.stream

-- name: idle
-- Streams that are switched off, with rows of another zone than the salon's: no batch of theirs begins.
select s.company_id as company, s.stream, s.version, s.cursor::text as cursor, s.zone as before,
       case when c.timezone_known then c.timezone else '' end as zone
from @schema.sync_status s join @schema.companies c on c.id = s.company_id
where s.zone is not null and s.zone <> case when c.timezone_known then c.timezone else '' end
  and s.claimed_by is null and s.due_at is null
order by s.company_id, s.stream
