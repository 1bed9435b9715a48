-- name: fence
-- Pages that are under way were read before the erasure: none of them may commit. $1 company.
-- Locked in the order in which a batch of webhooks locks them.
with locked as (
    select company_id, stream from @schema.sync_status where company_id = $1 order by stream <> 'hooks', stream for update
)
update @schema.sync_status s set version = version + 1 from locked
where s.company_id = locked.company_id and s.stream = locked.stream

-- name: fence_list
-- The same for the list of salons, which holds this one.
update @schema.sync_status set version = version + 1 where stream = 'companies'

-- name: client
-- $1 company, $2 client.
delete from @schema.clients where company_id = $1 and id = $2
returning phone, email, deleted_at is null as live, observed_at

-- name: uncount
-- What was proved held one live client more.
update @schema.sync_status set done = greatest(0, done - 1), expected = greatest(0, expected - 1)
where company_id = $1 and stream = 'clients'

-- name: begin_history
-- Visits are being read client by client, and one of these is no more: that reading begins again. $1 company, $2 client.
update @schema.sync_status set cursor = null, done = 0
where company_id = $1 and stream = 'records' and cursor #> '{sweep,clients}' is not null
  and exists (select from @schema.history_queue where company_id = $1 and client_id = $2)

-- name: named
-- Rows that are the client's, and rows of others whose payload names the id. $1 company, $2 client. {table} and {column} are
-- filled in by store/erase.py.
select id, {column} is not distinct from $2::bigint as own, raw::text as raw from @schema.{table}
where company_id = $1 and ({column} = $2::bigint
    or (raw::text like '%' || $2::bigint::text || '%' and raw::text ~ ('\m' || $2::bigint::text || '\M')))

-- name: rewrite
-- What stays of them. $1 company, $2 ids, $3 payloads. {blank}: the columns that are empty then.
update @schema.{table} t set {blank}raw = n.raw::jsonb, observed_at = greatest(t.observed_at, clock_timestamp())
from unnest($2::bigint[], $3::text[]) as n(id, raw) where t.company_id = $1 and t.id = n.id

-- name: quarantine
-- Payloads that name the client's id, the phone or the e-mail: one too many does no harm, it comes again. $3 the last ten digits
-- of the phone, $4 the e-mail; null: not known.
delete from @schema.quarantine
where company_id = $1 and ((stream = 'clients' and entity_id = $2::bigint::text)
    or payload::text ~ ('\m' || $2::bigint::text || '\M')
    or translate(payload::text, ' ()+-', '') like '%' || $3::text || '%'
    or strpos(lower(payload::text), lower($4::text)) > 0)

-- name: mention
delete from @schema.{table} where {which}

-- name: salon
-- Everything of one salon in one table. $1 company. {table} and {key} are filled in by store/erase.py.
delete from @schema.{table} where {key} = $1

-- name: audit
-- $1 company, $2 client (null: the salon), $3 rows by table, $4 when YCLIENTS showed the client last (null: it does not).
insert into @schema.erasures (company_id, client_id, rows, seen_at) values ($1, $2, $3::text::jsonb, $4)

-- name: lift
update @schema.erasures set lifted_at = clock_timestamp()
where company_id = $1 and client_id is not distinct from $2::bigint and lifted_at is null
returning id

-- name: begin_again
-- What did not change since is in no delta: everything is read again. $1 company, $2 streams.
update @schema.sync_status
set cursor = null, done = 0, phase = case when phase = 'stopped' then phase else 'new' end,
    due_at = case when claimed_by is null and due_at is not null then now() else due_at end
where company_id = $1 and stream = any ($2::text[])

-- name: list_again
-- The list of salons is read at once.
update @schema.sync_status set wanted_at = clock_timestamp(), priority = 100, due_at = case when claimed_by is null then now() else due_at end
where company_id = 0 and stream = 'companies'

-- name: erasures
select id, company_id as company, client_id as client, erased_at, rows::text as rows, role, seen_at, lifted_at
from @schema.erasures order by id
