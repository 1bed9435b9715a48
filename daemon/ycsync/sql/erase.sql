-- name: fence
-- Pages that are under way were read before the erasure: none of them may commit. $1 company.
update @schema.sync_status set version = version + 1 where company_id = $1

-- name: phone
select phone from @schema.clients where company_id = $1 and id = $2

-- name: client
-- $1 company, $2 client.
delete from @schema.clients where company_id = $1 and id = $2 returning deleted_at is null as live

-- name: uncount
-- What was proved held one live client more.
update @schema.sync_status set done = greatest(0, done - $2), expected = greatest(0, expected - $2)
where company_id = $1 and stream = 'clients'

-- name: client_records
-- The visits stay, as nobody's: of the payload only what says nothing of a person. $1 company, $2 client.
update @schema.records set client_id = null, comment = '', observed_at = greatest(observed_at, clock_timestamp()),
    raw = (select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(raw) where key = any (array[
        'id', 'company_id', 'staff_id', 'services', 'date', 'datetime', 'create_date', 'last_change_date', 'online',
        'visit_attendance', 'attendance', 'confirmed', 'seance_length', 'length', 'visit_id', 'deleted', 'paid_full',
        'prepaid', 'activity_id', 'clients_count']))
where company_id = $1 and client_id = $2

-- name: client_quarantine
-- Payloads that name the client's id, or the phone: one too many does no harm, it comes again. $3 phone, or null.
delete from @schema.quarantine
where company_id = $1 and ((stream = 'clients' and entity_id = $2::bigint::text)
    or payload::text ~ ('\m' || $2::bigint::text || '\M') or payload::text like '%' || $3::text || '%')

-- name: client_missing
delete from @schema.sweep_missing where company_id = $1 and stream = 'clients' and id = $2

-- name: salon
-- Everything of one salon in one table. $1 company. {table} and {key} are filled in by store/erase.py.
delete from @schema.{table} where {key} = $1
