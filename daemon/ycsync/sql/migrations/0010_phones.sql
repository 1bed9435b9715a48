-- works with: 9
-- Phones of other countries keep their country code, birthdays may lack a year, and values that cannot be read are counted.

-- Everything that readers use and this transaction changes, at once: the cursors first, as pages do, so that none commits that was
-- read before the rows below changed; then views before their tables, as queries do. A query that names a view
-- first waits for it. One that names a table first can still end this in a deadlock: all is rolled back, the next start tries again.
lock table @schema.sync_status, @schema.client_profiles, @schema.visits, @schema.clients, @schema.records, @schema.staff,
    @schema.services, @schema.service_categories, @schema.companies, @schema.transactions in access exclusive mode;
update @schema.sync_status set version = version + 1 where stream in ('clients', 'hooks');

-- As model/phones.py does it, and tests/integration/test_views.py compares. OFFSET 0 keeps PostgreSQL from writing the inner
-- expressions out wherever they are named, and so from working them out many times.
create or replace function @schema.normalise_phone(typed text) returns text language sql immutable strict parallel safe
return (
    select case
        when number ~ '[*xXхХ×•●·#_…⁎∗]' then null
        when abroad then case
            when length(digits) = 11 and digits like '89%' then '7' || substr(digits, 2)
            when length(digits) between 7 and 15 then digits
        end
        when length(digits) = 11 and digits like '8%' then '7' || substr(digits, 2)
        when length(digits) = 10 and digits like '9%' then '7' || digits
        when length(digits) between 7 and 15 then digits
    end
    from (
        select number, abroad,
            ltrim(regexp_replace(number, '[^0-9]+', '', 'g'), case when abroad then '0' else '' end) as digits
        from (
            select number, number ~ '^[^0-9]*([+]|0[^0-9]*0)' as abroad
            from (
                select case
                    when rest !~ '[xXхХ#,]' then rest
                    when regexp_replace(before, '[^0-9]+', '', 'g') ~ '^([0-9]{11,}|[02-69][0-9]{9})$' then before
                    else rest
                end as number
                from (
                    select rest, regexp_replace(rest, '[xXхХ#,][ .:=,]{0,3}[0-9]{1,6}[^0-9]*$', '') as before
                    from (
                        select case
                            when typed !~ '[tTбБнН]' then typed
                            when length(regexp_replace(before, '[^0-9]+', '', 'g')) >= 7 then before
                            else typed
                        end as rest
                        from (select regexp_replace(typed, '([eE][xX][tT]|[дД][оО][бБ]|[вВ][нН]).*$', '') as before) w
                    ) r offset 0
                ) s
            ) n offset 0
        ) a offset 0
    ) d
);

alter table @schema.clients add column birth_month smallint, add column birth_day smallint;

-- What the new rule reads differently; a masked phone_raw stands beside an older real phone, which stays. The year 1900 means
-- that the year is unknown. Whoever copies what changed (observed_at) sees phones and dates that are others now.
update @schema.clients c
set phone = n.phone, birth_month = extract(month from c.birth_date), birth_day = extract(day from c.birth_date),
    birth_date = n.birth_date,
    observed_at = case when row(c.phone, c.birth_date) is distinct from row(n.phone, n.birth_date)
                       then greatest(c.observed_at, clock_timestamp()) else c.observed_at end
from (
    select company_id, id,
        case
            when phone_raw ~ '^([+]?7|8)[0-9]{10}$' then phone  -- read as before
            else coalesce(@schema.normalise_phone(phone_raw), case when phone_raw ~ '[*xXхХ×•●·#_…⁎∗]' then phone end)
        end as phone,
        case when extract(year from birth_date) <> 1900 then birth_date end as birth_date
    from @schema.clients
) n
where c.company_id = n.company_id and c.id = n.id
  and (c.birth_date is not null or c.phone is distinct from n.phone);

-- Values of fields that could not be read, of rows that were written: {field: {"rows": how many, "last_seen": when}}.
alter table @schema.sync_status add column odd jsonb not null default '{}';

-- Rows that were kept out for such a value have not changed, so no delta brings them: these lists are read anew.
update @schema.sync_status s set cursor = s.cursor - 'since' - 'scan'
where s.stream in ('clients', 'goods') and exists (
    select from @schema.quarantine q
    where q.company_id = s.company_id and q.stream = s.stream and q.resolved_at is null);

-- A payment is placed by its id and its date; its amount may be unreadable.
alter table @schema.transactions alter column amount drop not null;
