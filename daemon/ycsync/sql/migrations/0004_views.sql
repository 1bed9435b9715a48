-- works with: 2
-- The views that a bot or a report reads: `visits`, one row a visit, and `client_profiles`, one row a client; and the functions
-- that they and their readers need. docs/data-model.md says what each column means.
-- They hold nothing: what one client costs is that client's rows, by indexes that are there (clients_by_phone, records_by_client).
-- The functions' bodies are parsed here, once: no search_path of a caller changes what they mean.

-- As model/phones.py does it, and tests/integration/test_views.py compares: look up what somebody typed.
create function @schema.normalise_phone(typed text) returns text language sql immutable strict parallel safe
return (
    select case
        when rest ~ '[*xXхХ×•●·#_…⁎∗]' then null
        when length(digits) = 11 and digits like '8%' then '7' || substr(digits, 2)
        when length(digits) = 10 and digits like '9%' then '7' || digits
        when length(digits) between 7 and 15 then digits
    end
    from (select rest, regexp_replace(rest, '[^0-9]', '', 'g') as digits
          from (select case when typed like '+%' then substr(typed, 2) else typed end as rest) t) d
);

-- An amount of a payload: a number, or a text with a point or a comma and spaces between thousands; null: it is none. Never fails.
-- One expression, so that PostgreSQL puts it into the statement instead of calling it.
create function @schema.json_amount(value jsonb) returns numeric language sql immutable parallel safe
return case jsonb_typeof(value)
    when 'number' then case when abs(value::numeric) <= 1e30 then value::numeric end
    when 'string' then case
        when replace(regexp_replace(value #>> '{}', E'[\\s\\u00a0\\u202f\\u2009]+', '', 'g'), ',', '.')
            ~ '^[+-]?([0-9]{1,60}([.][0-9]{0,100})?|[.][0-9]{1,100})([eE][+-]?[0-9]{1,3})?$'
        then case
            when abs(replace(regexp_replace(value #>> '{}', E'[\\s\\u00a0\\u202f\\u2009]+', '', 'g'), ',', '.')::numeric) <= 1e30
            then replace(regexp_replace(value #>> '{}', E'[\\s\\u00a0\\u202f\\u2009]+', '', 'g'), ',', '.')::numeric
        end
    end
end;

-- The columns by which a reader picks are those of the GROUP BY: a condition on them reaches the indexes of records.
create view @schema.visits as
select g.company_id, g.visit_id, g.client_id, g.record_ids, g.starts_at, g.ends_at, g.status, g.staff_ids,
    array(select s.title from @schema.record_services s
          where s.company_id = g.company_id and s.record_id = any (g.record_ids) and s.title <> ''
          order by array_position(g.record_ids, s.record_id), s.position) as services,
    g.services_amount, g.goods_amount, g.paid
from (
    -- Records that are gone count for nothing; where all of a visit's are gone, they say when it would have been.
    -- Goods: a sale takes from the store, so its amount is negative; a positive amount came back.
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
        coalesce(sum(
            case when r.raw -> 'goods_transactions' <> '[]' then (
                select sum(case when @schema.json_amount(line -> 'amount') > 0 then -1 else 1 end * abs(coalesce(
                    @schema.json_amount(line -> 'cost'), @schema.json_amount(line -> 'cost_to_pay'),
                    @schema.json_amount(line -> 'manual_cost'))))
                from jsonb_array_elements(case jsonb_typeof(r.raw -> 'goods_transactions')
                    when 'array' then r.raw -> 'goods_transactions'
                    -- PHP writes a list with gaps in its keys as an object; any other object is a line alone.
                    when 'object' then case
                        when jsonb_path_exists(r.raw, '$.goods_transactions.keyvalue().key ? (!(@ like_regex "^[0-9]+$"))')
                        then jsonb_build_array(r.raw -> 'goods_transactions')
                        else jsonb_path_query_array(r.raw, '$.goods_transactions.*')
                    end
                    else '[]'
                end) line
                where jsonb_typeof(line) = 'object' and coalesce(line ->> 'deleted', '') not in ('true', '1')
            ) end
        ) filter (where r.deleted_at is null), 0) as goods_amount,
        coalesce(sum(r.paid) filter (where r.deleted_at is null), 0) as paid
    from @schema.records r
    group by r.company_id, r.visit_id, r.client_id, case when r.visit_id is null then r.id end
) g;

-- Each part asks for one client's rows, so that one client costs no more than that; parts that nobody selects cost nothing.
create view @schema.client_profiles as
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
    c.changed_at, c.observed_at
from @schema.clients c
cross join lateral (
    select count(*) filter (where v.status = 'came')::integer as visit_count,
        count(*) filter (where v.status = 'no_show')::integer as no_show_count,
        coalesce(sum(v.paid) filter (where v.status = 'came'), 0) as total_spent,
        coalesce(sum(v.services_amount) filter (where v.status = 'came'), 0) as services_amount,
        coalesce(sum(v.goods_amount) filter (where v.status = 'came'), 0) as goods_amount,
        min(v.starts_at) filter (where v.status = 'came') as first_visit_at,
        max(v.starts_at) filter (where v.status = 'came') as last_visit_at,
        coalesce(jsonb_agg(
            jsonb_build_object(
                'visit_id', v.visit_id, 'starts_at', v.starts_at, 'status', v.status,
                'services', array(select s.title from @schema.record_services s
                                  where s.company_id = c.company_id and s.record_id = any (v.record_ids) and s.title <> ''
                                  order by array_position(v.record_ids, s.record_id), s.position),
                'staff', array(select s.name from @schema.staff s where s.company_id = c.company_id and s.id = any (v.staff_ids)
                               order by s.id),
                'services_amount', v.services_amount, 'goods_amount', v.goods_amount, 'paid', v.paid)
            order by v.place
        ) filter (where v.place <= 50 and v.status <> 'cancelled'), '[]') as visit_history
    from (
        select v.*, row_number() over (order by v.status = 'cancelled', v.starts_at desc, v.record_ids[1] desc) as place
        from @schema.visits v
        where v.company_id = c.company_id and v.client_id = c.id
    ) v
) h
where c.deleted_at is null;

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
