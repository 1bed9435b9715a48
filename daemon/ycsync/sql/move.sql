-- name: made
-- The schema that ycsync made here: the one of this name, or else another one. $1 schema.
select n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relname = 'schema_migrations' and c.relkind = 'r'
order by n.nspname = $1::text desc, n.nspname limit 1

-- name: contents
select (select count(*) from @schema.companies) as salons, (select count(*) from @schema.clients) as clients,
       (select count(*) from @schema.records) as records,
       (select count(*) from @schema.erasures where lifted_at is null) as erasures,
       (select count(*) from @schema.pauses) as pauses

-- name: unread
-- Whether nothing of YCLIENTS was stored here yet.
select not exists (select from @schema.companies) and not exists (select from @schema.clients)
   and not exists (select from @schema.records)

-- name: settled
-- Whether a first pass of clients or visits ended here: then these rows stay, and are not dropped for those of another database.
select exists (
    select from @schema.sync_status where stream in ('clients', 'records') and last_success_at is not null)

-- name: filled
-- Salons and their streams of which a first pass ended here, as far as the salon is still known.
select company_id, stream from @schema.sync_status s
where stream in ('clients', 'records') and last_success_at is not null and exists (select from @schema.companies where id = s.company_id)

-- name: busy
-- Processes that work with this database now.
select count(*) from @schema.workers where beat_at > now() - interval '10 seconds'

-- name: tables
-- What is copied: every table but those of this database alone and those that `carry` merges. Generated columns are not written.
-- `sequence`: of the identity column `counter`, if there is one.
select c.relname as name, array_agg(a.attname::text order by a.attnum) as columns,
       max(case when a.attidentity <> '' then a.attname end) as counter,
       max(case when a.attidentity <> '' then pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname) end) as sequence
from pg_class c join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
where n.nspname = $1 and c.relkind in ('r', 'p')
  and c.relname not in ('schema_migrations', 'workers', 'erasures', 'pauses')
group by c.oid, c.relname, n.nspname order by c.relname

-- name: patient
-- A copy of a million rows takes longer than a role may allow a statement.
select set_config('statement_timeout', '0', true)

-- name: erasures
select company_id, client_id, erased_at, rows::text as rows, role, seen_at, lifted_at from @schema.erasures order by id

-- name: carry_erasure
-- Once, however often it is carried.
insert into @schema.erasures (company_id, client_id, erased_at, rows, role, seen_at, lifted_at)
select $1::bigint, $2::bigint, $3::timestamptz, $4::text::jsonb, $5::text, $6::timestamptz, $7::timestamptz
where not exists (select from @schema.erasures
                  where company_id = $1 and client_id is not distinct from $2 and erased_at = $3)

-- name: pauses
select company_id, since, reason from @schema.pauses

-- name: carry_pause
insert into @schema.pauses (company_id, since, reason) values ($1, $2, $3) on conflict (company_id) do nothing

-- name: disown
-- The processes that held these rows belong to the other database.
update @schema.sync_status
set claimed_by = null, claimed_at = null, wanted_at = null, options = options - 'by', due_at = coalesce(due_at, now())
where claimed_by is not null or options ? 'by'

-- name: disown_batches
update @schema.sync_batches set outcome = 'lost', finished_at = clock_timestamp() where finished_at is null

-- name: disown_slots
-- A slot stays taken until its window is over, whoever took it.
update @schema.limiter_slots set owner = null where owner is not null

-- name: present
-- Erasures in force of which rows are here.
select x.company_id, x.client_id from (
    select distinct company_id, client_id from @schema.erasures where lifted_at is null) x
where case when x.client_id is null then exists (select from @schema.companies where id = x.company_id)
           else exists (select from @schema.clients where company_id = x.company_id and id = x.client_id)
             or exists (select from @schema.records where company_id = x.company_id and client_id = x.client_id) end
