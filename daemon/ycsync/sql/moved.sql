-- name: vanished
-- These clients were deleted just now: their visits are asked for again, cancelled ones too. $1 company, $2 ids of clients.
insert into @schema.visits_to_check (company_id, id)
select r.company_id, r.id from @schema.records r
where r.company_id = $1 and r.client_id = any ($2::bigint[]) and (r.deleted_at is null or r.status = 'cancelled')
order by r.id
on conflict (company_id, id) do update set moved = false, since = excluded.since

-- name: forget
-- What was read meanwhile, is gone, or whose client is back needs no question. $1 company.
delete from @schema.visits_to_check v
where v.company_id = $1 and not exists (
    select from @schema.records r
    join @schema.clients c on c.company_id = r.company_id and c.id = r.client_id and c.deleted_at is not null
    where r.company_id = v.company_id and r.id = v.id and (r.deleted_at is null or r.status = 'cancelled'))

-- name: pending
-- The salon's visits to check; `client`: null: it needs no question any more. $1 company.
select v.id,
       case when (r.deleted_at is null or r.status = 'cancelled') and c.deleted_at is not null then r.client_id end as client,
       r.starts_at, v.moved
from @schema.visits_to_check v
left join @schema.records r on r.company_id = v.company_id and r.id = v.id
left join @schema.clients c on c.company_id = r.company_id and c.id = r.client_id
where v.company_id = $1 order by r.starts_at, v.id

-- name: rows_a_day
-- Visits of each day that has some, cancelled ones too. $1 company, $2 the salon's distance from UTC, $3 from this day, $4 up to it.
select ((starts_at at time zone 'UTC') + $2::interval)::date as day, count(*) as rows
from @schema.records
where company_id = $1 and starts_at >= $3::date - 1 and starts_at < $4::date + 2
group by 1 order by 1

-- name: checked
-- $1 company, $2 ids of visits.
delete from @schema.visits_to_check where company_id = $1 and id = any ($2::bigint[])

-- name: moved
-- The lists of their vanished clients do not show these. $1 company, $2 ids of visits.
update @schema.visits_to_check set moved = true where company_id = $1 and id = any ($2::bigint[])

-- name: salons
-- Which of these salons have visits to check. $1 companies.
select distinct company_id from @schema.visits_to_check where company_id = any ($1::bigint[])
