-- A role that may read the salons' data and nothing else, for a bot or a report. Run it as whoever ran role.sql, after the first
-- start of ycsync, which makes the tables; and again after an upgrade that brings new ones.
do $$
declare
    -- A login of its own gets its rights by `grant yclients_reader to my_bot;`. Supabase's service_role inherits nothing: for its
    -- key write array['yclients_reader', 'service_role'].
    readers constant text[] := array['yclients_reader'];
    reader text;
    relation text;
begin
    if not exists (select from pg_roles where rolname = 'yclients_reader') then
        create role yclients_reader nologin;
    end if;
    foreach reader in array readers loop
        execute format('grant usage on schema yclients to %I', reader);
        foreach relation in array array[
            'companies', 'service_categories', 'services', 'staff', 'clients', 'records', 'record_services', 'sync_status'
        ] loop
            execute format('grant select on yclients.%I to %I', relation, reader);
            execute format('drop policy if exists %I on yclients.%I', reader, relation);
            execute format('create policy %I on yclients.%I for select to %I using (true)', reader, relation, reader);
        end loop;
        -- The views show what their reader may read of the tables; normalise_phone() and what the views reckon with hold nothing.
        execute format('grant select on yclients.client_profiles, yclients.visits to %I', reader);
        execute format('grant execute on all functions in schema yclients to %I', reader);
    end loop;
end
$$;
