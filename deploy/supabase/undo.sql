-- Removes all that role.sql, reader.sql and ycsync made in this database, THE DATA TOO. Stop ycsync first. Run it as whoever ran
-- role.sql.
drop schema if exists yclients cascade;
do $$
declare
    role text;
begin
    foreach role in array array['yclients_reader', 'ycsync'] loop
        if exists (select from pg_roles where rolname = role) then
            -- Rights outside of the schema, such as a CREATE on the database that was granted by hand.
            execute format('grant %I to %I', role, current_user);
            execute format('drop owned by %I', role);
            execute format('drop role %I', role);
        end if;
    end loop;
end
$$;
