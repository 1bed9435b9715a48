-- name: advance
-- The fence: the page commits only if the cursor is still the one that it was planned on.
-- $1 company, $2 stream, $3 version, $4 cursor, $5 phase, $6 expected, $7 done, $8 requests since the last commit,
-- $9 proved as of (null: not proved yet), $10 pass started, $11 a sweep ends here: only that settles one that was held back.
update @schema.sync_status
set version = version + 1, cursor = $4::text::jsonb, phase = $5, expected = $6, done = $7, requests = requests + $8,
    pass_started_at = $10, updated_at = clock_timestamp(),
    due_at = case when $9::timestamptz is null or $12::float8 is null then due_at
                  else clock_timestamp() + make_interval(secs => $12::float8) end,
    proved_as_of = coalesce($9, proved_as_of),
    last_success_at = case when $9::timestamptz is null then last_success_at else clock_timestamp() end,
    held_back = case when $11::bool then null else held_back end,
    last_error = case when $9::timestamptz is null then last_error when not $11::bool then held_back end,
    error_code = case when $9::timestamptz is null then error_code when not $11::bool and held_back is not null then 'held_back' end,
    error_since = case when $9::timestamptz is null then error_since
                       when not $11::bool and held_back is not null then coalesce(error_since, clock_timestamp()) end,
    failures = case when $9::timestamptz is null then failures else 0 end
where company_id = $1 and stream = $2 and version = $3
returning version

-- name: hold_back
-- The sweep stopped and asks. $1 company, $2 stream, $3 what it says.
update @schema.sync_status set held_back = $3, last_error = $3, error_code = 'held_back', error_since = coalesce(error_since, clock_timestamp())
where company_id = $1 and stream = $2

-- name: count_odd
-- Rows were written whose value of these fields could not be read. $1 company, $2 stream, $3 when, $4 fields, $5 how many rows.
update @schema.sync_status set odd = odd || (
    select jsonb_object_agg(f.field, jsonb_build_object(
        'rows', coalesce((odd #>> array[f.field, 'rows'])::bigint, 0) + f.rows, 'last_seen', $3::timestamptz))
    from unnest($4::text[], $5::bigint[]) as f(field, rows))
where company_id = $1 and stream = $2

-- name: replace_lines
-- The lines of the records that this page wrote: the old ones go, the new ones come. $1 company, $2 record ids.
delete from @schema.record_services where company_id = $1 and record_id = any ($2::bigint[])

-- name: insert_lines
insert into @schema.record_services
    (company_id, record_id, position, service_id, title, amount, unit_cost, discount, cost, first_cost)
select $1, l.* from unnest($2::bigint[], $3::int[], $4::bigint[], $5::text[], $6::numeric[], $7::numeric[], $8::numeric[],
                           $9::numeric[], $10::numeric[]) as l

-- name: quarantine
-- $1 company, $2 stream, $3 when, $4 entity ids, $5 reasons, $6 payloads.
insert into @schema.quarantine (company_id, stream, entity_id, reason, payload, first_seen, last_seen)
select distinct on (coalesce(q.entity_id, md5(q.payload::jsonb::text)), q.reason)
    $1::bigint, $2::text, q.entity_id, q.reason, q.payload::jsonb, $3::timestamptz, $3::timestamptz
from unnest($4::text[], $5::text[], $6::text[]) as q(entity_id, reason, payload)
on conflict (company_id, stream, coalesce(entity_id, md5(payload::text)), reason) where resolved_at is null
do update set last_seen = excluded.last_seen, payload = excluded.payload

-- name: resolve
-- Rows that came well now. $1 company, $2 stream, $3 when, $4 entity ids that were stored.
update @schema.quarantine set resolved_at = $3
where company_id = $1 and stream = $2 and resolved_at is null and first_seen <= $3 and entity_id = any ($4::text[])

-- name: settle
-- Everything was read since $3: a bad row that did not come again is well, or gone. $1 company, $2 stream.
update @schema.quarantine set resolved_at = clock_timestamp()
where company_id = $1 and stream = $2 and resolved_at is null and last_seen < $3

-- name: missing_ids
-- Sweep by id: what the database has between two ids and the page, one moment of the salon, has not.
-- $1 company, $2 stream, $3 observed_at, $4 above this id, $5 up to this id, $6 the page's ids.
insert into @schema.sweep_missing (company_id, stream, id, observed_at)
select $1, $2, t.id, $3 from @schema.{table} t
where t.company_id = $1 and t.deleted_at is null {listed} and t.observed_at < $3
  and ($4::bigint is null or t.id > $4) and ($5::bigint is null or t.id <= $5) and not t.id = any ($6::bigint[])
on conflict (company_id, stream, id) do update set observed_at = excluded.observed_at

-- name: missing_dates
-- The same by the column that rows are dated by. $4 from, $5 before.
-- `since` stays: when it was missed first.
insert into @schema.sweep_missing (company_id, stream, id, observed_at)
select $1, $2, t.id, $3 from @schema.{table} t
where t.company_id = $1 and t.deleted_at is null and t.observed_at < $3
  and ($4::{kind} is null or t.{at} >= $4) and ($5::{kind} is null or t.{at} < $5)
  and not t.id = any ($6::bigint[])
on conflict (company_id, stream, id) do update set observed_at = excluded.observed_at

-- name: found
-- Rows of a page are not missing, though they are unchanged and so not written. $1 company, $2 stream, $3 observed_at, $4 ids.
delete from @schema.sweep_missing where company_id = $1 and stream = $2 and observed_at <= $3 and id = any ($4::bigint[])

-- name: sweep_clear
delete from @schema.sweep_missing where company_id = $1 and stream = $2

-- name: sweep_count
-- How many rows the sweep would delete, and how many live rows there are: in all, and from $3 on, if that is what was swept.
-- A row seen elsewhere since is not missing. $1 company, $2 stream; {doubted}: only those that were missed before.
select (select count(*) from @schema.sweep_missing m join @schema.{table} t
            on t.company_id = m.company_id and t.id = m.id and t.deleted_at is null and t.observed_at < m.observed_at
        where m.company_id = $1 and m.stream = $2 {doubted} {guarded}) as missing,
       (select count(*) from @schema.{table} where company_id = $1 and deleted_at is null {guarded}) as live,
       (select count(*) from @schema.{table} where company_id = $1 and deleted_at is null {guarded} {since}) as swept

-- name: unlist
-- What left its list and is named by what is stored is not deleted. Before sweep_apply, which it takes them from. $1 company,
-- $2 stream; {named}: a table and its column that name such rows, {living}: only rows of it that count.
-- observed_at is now, as in sweep_apply.
-- The limit keeps it to one look for each that is missing: as a join it would read all that the salon has.
with missed as materialized (
    select t.id
    from @schema.sweep_missing m
    join @schema.{table} t on t.company_id = m.company_id and t.id = m.id and t.deleted_at is null and t.observed_at < m.observed_at
    where m.company_id = $1 and m.stream = $2
)
update @schema.{table} t set listed = false, observed_at = clock_timestamp()
from missed
where t.company_id = $1 and t.id = missed.id
  and (select true from @schema.{named} n where n.company_id = $1 and n.{column} = missed.id {living} limit 1)

-- name: sweep_apply
-- deleted_at is when the page that missed the row left: an older page cannot bring it back. observed_at is now: who reads what
-- changed since an instant finds the deletion, however long ago the row was missed.
update @schema.{table} t set deleted_at = m.observed_at, observed_at = clock_timestamp()
from @schema.sweep_missing m
where m.company_id = $1 and m.stream = $2 and t.company_id = m.company_id and t.id = m.id
  and t.deleted_at is null and t.observed_at < m.observed_at {doubted}
returning t.id

-- name: sweep_settle
-- What is gone, or was seen elsewhere since, is not missing any more. $1 company, $2 stream.
delete from @schema.sweep_missing m using @schema.{table} t
where m.company_id = $1 and m.stream = $2 and t.company_id = m.company_id and t.id = m.id
  and (t.deleted_at is not null or t.observed_at >= m.observed_at)

-- name: doubted
-- Is a row missed that may only have moved? $1 company, $2 stream.
select exists (select from @schema.sweep_missing where company_id = $1 and stream = $2)

-- name: salons_gone
-- Salons that the whole list does not name any more. $1 those that it names, $2 observed_at. None goes if they are more than
-- $3 of all ($4: the user said that it is right), except for a single one.
with gone as (
    select id from @schema.companies where deleted_at is null and observed_at < $2 and not id = any ($1::bigint[])
), counted as (
    select (select count(*) from gone) as missing, (select count(*) from @schema.companies where deleted_at is null) as live
), written as (
    update @schema.companies c set deleted_at = $2, observed_at = clock_timestamp()
    from gone, counted
    where c.id = gone.id and ($4::bool or counted.missing <= greatest(1, $3::float8 * counted.live))
    returning c.id
)
select missing, live, (select count(*) from written) as deleted from counted

-- name: salons
select id from @schema.companies where deleted_at is null

-- name: active_salons
select id from @schema.companies where deleted_at is null and active order by id

-- name: count_rows
select count(*) from @schema.{table} where company_id = $1 and deleted_at is null {listed}

-- name: count_all
select count(*) from @schema.{table} where company_id = $1

-- name: fill_history_queue
-- Every client of the salon, the most active first.
insert into @schema.history_queue (company_id, position, client_id)
select $1, row_number() over (order by coalesce(visit_count, 0) desc, id desc) - 1, id
from @schema.clients where company_id = $1 and deleted_at is null

-- name: clear_history_queue
delete from @schema.history_queue where company_id = $1

-- name: history_queue
-- $2 from position, $3 how many
select position, client_id from @schema.history_queue where company_id = $1 and position >= $2 order by position limit $3

-- name: zone
-- An empty text: YCLIENTS does not name it.
select case when timezone_known then timezone else '' end from @schema.companies where id = $1

-- name: staff_ids
select distinct id from (
    select id from @schema.staff where company_id = $1
    union all select staff_id from @schema.records where company_id = $1 and staff_id is not null) s

-- name: failing
select failures >= 3 or phase = 'stopped' from @schema.sync_status where company_id = $1 and stream = $2

-- name: proved
select last_success_at is not null from @schema.sync_status where company_id = $1 and stream = $2

-- name: erased_clients
-- Clients of the salon $1 that must not be stored again, whether the salon itself must not, and its time zone (see zone).
select coalesce(array_agg(client_id) filter (where client_id is not null), '{}') as clients,
       coalesce(bool_or(client_id is null), false) as salon,
       (select case when timezone_known then timezone else '' end from @schema.companies where id = $1) as zone
from @schema.erasures where company_id = $1 and lifted_at is null

-- name: erased_salons
select distinct company_id from @schema.erasures where client_id is null and lifted_at is null

-- name: erased_met
-- YCLIENTS still has these clients. $1 company, $2 ids, $3 when.
update @schema.erasures set seen_at = greatest(seen_at, $3) where company_id = $1 and client_id = any ($2::bigint[]) and lifted_at is null

-- name: erased_gone
-- All clients were read since $2: an erased one that was not among them is gone there too. $1 company.
update @schema.erasures set seen_at = null where company_id = $1 and client_id is not null and seen_at < $2

-- name: clients_known
-- How many clients YCLIENTS has, as far as is known: those that live here, those that it showed though they were erased, those
-- in quarantine, and of $2, ids that it shows now, the others. $1 company.
with living as (
    select id from @schema.clients where company_id = $1 and deleted_at is null
), elsewhere as (
    select client_id::text as id from @schema.erasures where company_id = $1 and lifted_at is null and seen_at is not null
    union
    select coalesce(entity_id, md5(payload::text)) from @schema.quarantine
    where company_id = $1 and stream = 'clients' and resolved_at is null
    union
    select id::text from unnest($2::bigint[]) as shown(id)
)
select (select count(*) from living)
     + (select count(*) from elsewhere e where not exists (select from living l where l.id::text = e.id))
