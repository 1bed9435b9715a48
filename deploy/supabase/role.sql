-- The smallest role that ycsync can work with, and a schema of its own. For Supabase (SQL Editor) and any PostgreSQL 14 or newer;
-- run it as `postgres` or whoever owns the database. It may be run again: then it only sets the password.
--
-- Put a password of your own here:
do $$
declare
    password constant text := 'CHANGE-ME';
begin
    if password = 'CHANGE' || '-ME' or length(password) < 12 then
        raise exception 'Put a password of your own, of 12 letters or more, into the line that says CHANGE-ME.';
    end if;
    if not exists (select from pg_roles where rolname = 'ycsync') then
        -- No superuser, no right to pass over row-level security, to make roles or databases: those are the defaults.
        create role ycsync login connection limit 20;
    end if;
    execute format('alter role ycsync password %L', password);
    -- Who runs this sees ycsync's tables too, in Supabase's table editor for example.
    execute format('grant ycsync to %I', current_user);
    create schema if not exists yclients authorization ycsync;
end
$$;

-- Nobody else enters the schema: a new one is open to its owner only. Supabase's `anon` and `authenticated` never could, it is not
-- among the exposed schemas; and if somebody exposes it, row-level security is on in every table, with no policy that lets them in.
