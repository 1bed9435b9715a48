-- works with: 9
-- The list price of each service line, and views that count what is a visit's once: the goods that each record of a visit
-- repeats, and a bill that stands at one of its records. New columns come last, so that what was built on the views stays.
-- A ycsync that does not know the column leaves it null: then unit_cost × amount stands for it.

alter table @schema.record_services add column first_cost numeric;

-- In the order in which model/records.py numbers the lines: empty ones have no number.
update @schema.record_services s
set first_cost = l.first_cost
from (
    select r.company_id, r.id, line.position, line.first_cost
    from @schema.records r
    cross join lateral (
        select row_number() over (order by e.place) - 1 as position, @schema.json_amount(e.line -> 'first_cost') as first_cost
        from jsonb_array_elements(case jsonb_typeof(r.raw -> 'services')
            when 'array' then r.raw -> 'services'
            when 'object' then case
                when jsonb_path_exists(r.raw, '$.services.keyvalue().key ? (!(@ like_regex "^[0-9]+$"))')
                then jsonb_build_array(r.raw -> 'services')
                else jsonb_path_query_array(r.raw, '$.services.*')
            end
            else '[]'
        end) with ordinality e(line, place)
        where jsonb_typeof(e.line) = 'object' and e.line <> '{}'
    ) line
    where line.first_cost is not null
) l
where s.company_id = l.company_id and s.record_id = l.id and s.position = l.position;

-- The columns by which a reader picks are those of the GROUP BY: a condition on them reaches the indexes of records.
create or replace view @schema.visits as
select g.company_id, g.visit_id, g.client_id, g.record_ids, g.starts_at, g.ends_at, g.status, g.staff_ids,
    array(select s.title from @schema.record_services s
          where s.company_id = g.company_id and s.record_id = any (g.record_ids) and s.title <> ''
          order by array_position(g.record_ids, s.record_id), s.position) as services,
    g.services_amount,
    -- One line a transaction: a living record's version before a cancelled one's, then what was read last. Without an id it is
    -- the same line where the same stands at the same place of the list.
    -- A sale takes from the store, so its amount is negative; a positive amount came back.
    case when g.goods is null or not g.living then 0 else coalesce((
        select sum(case when @schema.json_amount(one.line -> 'amount') > 0 then -1 else 1 end * abs(coalesce(
            @schema.json_amount(one.line -> 'cost'), @schema.json_amount(one.line -> 'cost_to_pay'),
            @schema.json_amount(one.line -> 'manual_cost'))))
        from (
            select distinct on (named.key) named.line
            from (
                select l.seen_at, e.line, coalesce(
                    case when jsonb_typeof(e.line -> 'id') in ('number', 'string')
                         then nullif(nullif(btrim(e.line ->> 'id'), ''), '0') end,
                    e.position || e.line::text) as key
                from unnest(g.goods, g.goods_seen_at) l(list, seen_at)
                cross join lateral jsonb_array_elements(case jsonb_typeof(l.list)
                    when 'array' then l.list
                    -- PHP writes a list with gaps in its keys as an object; any other object is a line alone.
                    when 'object' then case
                        when jsonb_path_exists(l.list, '$.keyvalue().key ? (!(@ like_regex "^[0-9]+$"))')
                        then jsonb_build_array(l.list)
                        else jsonb_path_query_array(l.list, '$.*')
                    end
                    else '[]'
                end) with ordinality e(line, position)
                where jsonb_typeof(e.line) = 'object'
            ) named
            order by named.key, named.seen_at desc
        ) one
        where coalesce(one.line ->> 'deleted', '') not in ('true', '1')
    ), 0) end as goods_amount,
    g.paid,
    case when g.living then coalesce((
        select sum(coalesce(s.first_cost, s.unit_cost * s.amount, s.cost)) from @schema.record_services s
        where s.company_id = g.company_id and s.record_id = any (g.record_ids)
    ), 0) else 0 end as list_amount
from (
    -- Records that are gone count for nothing; where all of a visit's are gone, they say when it would have been.
    -- Goods are the visit's: each of its records repeats the list, and a cancelled one may be the only one that has it.
    select r.company_id, r.visit_id, r.client_id,
        coalesce(array_agg(r.id order by r.starts_at, r.id) filter (where r.deleted_at is null),
                 array_agg(r.id order by r.starts_at, r.id)) as record_ids,
        coalesce(min(r.starts_at) filter (where r.deleted_at is null), min(r.starts_at)) as starts_at,
        coalesce(max(r.starts_at + coalesce(r.duration_s, 0) * interval '1 second') filter (where r.deleted_at is null),
                 max(r.starts_at + coalesce(r.duration_s, 0) * interval '1 second')) as ends_at,
        case
            when bool_or(r.status = 'came') filter (where r.deleted_at is null) then 'came'
            when bool_or(r.status = 'no_show') filter (where r.deleted_at is null) then 'no_show'
            when bool_or(r.status = 'confirmed') filter (where r.deleted_at is null) then 'confirmed'
            when bool_or(r.status = 'waiting') filter (where r.deleted_at is null) then 'waiting'
            else 'cancelled'
        end as status,
        coalesce(array_agg(distinct r.staff_id) filter (where r.staff_id is not null and r.deleted_at is null),
                 array_agg(distinct r.staff_id) filter (where r.staff_id is not null), '{}') as staff_ids,
        coalesce(sum(r.cost) filter (where r.deleted_at is null), 0) as services_amount,
        bool_or(r.deleted_at is null) as living,
        array_agg(r.raw -> 'goods_transactions') filter (where r.raw -> 'goods_transactions' <> '[]') as goods,
        -- Not ordered: sorting costs more in each visit than reading what few of them have.
        array_agg(case when r.deleted_at is null then r.observed_at else r.observed_at - interval '1000 years' end)
            filter (where r.raw -> 'goods_transactions' <> '[]') as goods_seen_at,
        -- The mark of being paid is the visit's too: where payments are listed at one record, only what is listed counts.
        coalesce(
            sum(r.paid) filter (
                where r.deleted_at is null and r.raw -> 'finance_transactions' not in ('[]', '{}', '""', '0', 'false', 'null')),
            sum(r.paid) filter (where r.deleted_at is null), 0) as paid
    from @schema.records r
    group by r.company_id, r.visit_id, r.client_id, case when r.visit_id is null then r.id end
) g;

-- Each part asks for one client's rows, so that one client costs no more than that; parts that nobody selects cost nothing.
create or replace view @schema.client_profiles as
select c.company_id, c.id, c.name, c.surname, c.patronymic, c.phone, c.email, c.sex_id, c.birth_date, c.discount,
    c.importance_id, c.card, c.comment, c.categories, c.spent, c.balance,
    h.visit_count, h.no_show_count, h.total_spent, h.services_amount, h.goods_amount,
    case when h.visit_count > 0 then round(h.total_spent / h.visit_count, 2) end as average_bill,
    h.first_visit_at, h.last_visit_at,
    array(
        select l.title
        from (
            select distinct on (s.title) s.title, r.starts_at, r.id, s.position
            from (
                select r.id, r.starts_at from @schema.records r
                where r.company_id = c.company_id and r.client_id = c.id and r.status = 'came' and r.deleted_at is null
                order by r.starts_at desc, r.id desc
                limit 50
            ) r
            join @schema.record_services s on s.company_id = c.company_id and s.record_id = r.id and s.title <> ''
            order by s.title, r.starts_at desc, r.id desc, s.position
        ) l
        order by l.starts_at desc, l.id desc, l.position
        limit 5
    ) as last_services,
    coalesce((
        select jsonb_agg(
            jsonb_build_object('staff_id', f.staff_id, 'visits', f.visits, 'name', coalesce(
                (select nullif(s.name, '') from @schema.staff s where s.company_id = c.company_id and s.id = f.staff_id),
                (select r.raw #>> '{staff,name}' from @schema.records r
                 where r.company_id = c.company_id and r.client_id = c.id and r.staff_id = f.staff_id
                 order by r.starts_at desc limit 1)))
            order by f.visits desc, f.last_at desc, f.staff_id)
        from (
            select r.staff_id, count(distinct coalesce(r.visit_id, -r.id)) as visits, max(r.starts_at) as last_at
            from @schema.records r
            where r.company_id = c.company_id and r.client_id = c.id and r.status = 'came' and r.deleted_at is null
                and r.staff_id is not null
            group by r.staff_id
            order by 2 desc, 3 desc, 1
            limit 3
        ) f
    ), '[]') as favourite_staff,
    case
        when h.visit_count >= 20 and h.total_spent >= 50000 then 'VIP'
        when h.visit_count >= 10 and h.total_spent >= 20000 then 'Gold'
        when h.visit_count >= 5 and h.total_spent >= 8000 then 'Silver'
        when h.visit_count >= 2 then 'Bronze'
        else 'New'
    end as loyalty_level,
    h.visit_history,
    c.changed_at, c.observed_at,
    h.list_amount
from @schema.clients c
cross join lateral (
    select count(*) filter (where v.status = 'came')::integer as visit_count,
        count(*) filter (where v.status = 'no_show')::integer as no_show_count,
        coalesce(sum(v.paid) filter (where v.status = 'came'), 0) as total_spent,
        coalesce(sum(v.services_amount) filter (where v.status = 'came'), 0) as services_amount,
        coalesce(sum(v.goods_amount) filter (where v.status = 'came'), 0) as goods_amount,
        coalesce(sum(v.list_amount) filter (where v.status = 'came'), 0) as list_amount,
        min(v.starts_at) filter (where v.status = 'came') as first_visit_at,
        max(v.starts_at) filter (where v.status = 'came') as last_visit_at,
        coalesce(jsonb_agg(
            jsonb_build_object(
                'visit_id', v.visit_id, 'starts_at', v.starts_at, 'status', v.status,
                'services', array(select s.title from @schema.record_services s
                                  where s.company_id = c.company_id and s.record_id = any (v.record_ids) and s.title <> ''
                                  order by array_position(v.record_ids, s.record_id), s.position),
                -- Who was fired before the first sync stands in no list: only in the visits.
                'staff', array(
                    select n.name
                    from unnest(v.staff_ids) u(id)
                    cross join lateral (select coalesce(
                        (select nullif(s.name, '') from @schema.staff s where s.company_id = c.company_id and s.id = u.id),
                        (select r.raw #>> '{staff,name}' from @schema.records r
                         where r.company_id = c.company_id and r.id = any (v.record_ids) and r.staff_id = u.id
                         order by r.starts_at desc limit 1)) as name) n
                    where n.name <> ''
                    order by u.id),
                'services_amount', v.services_amount, 'list_amount', v.list_amount, 'goods_amount', v.goods_amount,
                'paid', v.paid)
            order by v.place
        ) filter (where v.place <= 50 and v.status <> 'cancelled'), '[]') as visit_history
    from (
        select v.*, row_number() over (order by v.status = 'cancelled', v.starts_at desc, v.record_ids[1] desc) as place
        from @schema.visits v
        where v.company_id = c.company_id and v.client_id = c.id
    ) v
) h
where c.deleted_at is null;

-- Replacing a view takes its options away, so they are set again.
-- A view runs with its owner's rights, who passes over row-level security: these two run with their reader's. PostgreSQL 14 cannot
-- do that: there they show nothing to whomever row-level security would hold back.
do $$
declare
    name text;
begin
    foreach name in array array['visits', 'client_profiles'] loop
        if current_setting('server_version_num')::integer >= 150000 then
            execute format('alter view %I.%I set (security_invoker = true)', '@schema_literal', name);
        else
            execute format('create or replace view %1$I.%2$I with (security_barrier) as select * from (%3$s) v where not row_security_active(%4$L)',
                '@schema_literal', name, rtrim(pg_get_viewdef(format('%I.%I', '@schema_literal', name)::regclass), ';'),
                format('%I.clients', '@schema_literal'));
        end if;
    end loop;
end
$$;
