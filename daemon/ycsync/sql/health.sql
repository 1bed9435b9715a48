-- name: server
-- What the server is, and what this role may do in it. Counts of sessions are what everybody may read.
select current_setting('server_version_num')::int as version,
       pg_is_in_recovery() as standby,
       current_setting('transaction_read_only') = 'on' as read_only,
       current_user::text as role,
       (select rolsuper from pg_roles where rolname = current_user) as superuser,
       current_database()::text as database,
       clock_timestamp() as now,
       has_database_privilege(current_database(), 'CREATE') as may_create,
       coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as encrypted,
       (current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int)::int as places,
       -- The running service's own are there for this one too.
       ((select sum(numbackends) from pg_stat_database)
        - (select count(*) from pg_stat_activity where usename = current_user and datname = current_database()))::int as taken,
       (select rolconnlimit from pg_roles where rolname = current_user) as role_limit

-- name: schema
-- The schema, if it is there: may this role make tables in it, and whose are those that are not its own? $1 schema.
select has_schema_privilege(n.oid, 'USAGE') as may_use, has_schema_privilege(n.oid, 'CREATE') as may_create,
       exists (select from pg_class c where c.relnamespace = n.oid and c.relname = 'schema_migrations') as made,
       array(select c.relname::text from pg_class c where c.relnamespace = n.oid and c.relkind in ('r', 'p')
             and not pg_has_role(c.relowner, 'USAGE') order by 1) as foreign_tables
from pg_namespace n where n.nspname = $1
