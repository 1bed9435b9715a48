-- name: upsert
-- One page of one table, set-based. Rows that are already there as they came are not written at all (ON CONFLICT alone
-- would write WAL for each of them); a row known as it is since later than this page (`Table.seen_at`) is never
-- overwritten; a row that returns is undeleted. The page has been deduplicated: set-based forms fail on a key that comes twice.
-- {…} are filled from store/tables.py. $1 observed_at, $2 company (0 for companies), $3… one array a column.
-- {kept} columns stay as they are while the page shows them masked.
with incoming as (
    select * from unnest({arrays}) as i({names}, deleted)
), page as (
    select {values}, i.deleted, t.id is null as is_new, t.deleted_at is not null as was_deleted, {seen_at} as seen_at,
           row({stored}) as stored, row({values_cast}) as given
    from incoming i left join @schema.{table} t on {match}
), written as (
    insert into @schema.{table} as t ({scope}{names}, observed_at, deleted_at)
    select {scope_value}{names}, $1::timestamptz, case when deleted then $1::timestamptz end from page
    where is_new or (seen_at <= $1::timestamptz and (was_deleted <> deleted or stored is distinct from given))
    on conflict ({key}) do update
    set {assignments}, observed_at = excluded.observed_at,
        deleted_at = case when excluded.deleted_at is not null then coalesce(t.deleted_at, excluded.deleted_at) end
    where {seen_at} <= excluded.observed_at
    returning t.id, xmax = 0 as inserted
)
select id, inserted from written
