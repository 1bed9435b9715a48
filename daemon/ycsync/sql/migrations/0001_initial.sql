-- The tables that users read (companies … staff), what ycsync remembers about its work (sync_*, quarantine, sweep_missing,
-- history_queue), and what several processes share (workers, pauses, limiter_*).
-- Row-level security is on with no policy: only the owner reads; a Supabase `anon` key reads nothing.

create table @schema.companies (
    id          bigint primary key,
    title       text not null,
    timezone    text not null,
    currency    text not null,
    active      boolean not null,
    raw         jsonb not null,
    changed_at  timestamptz,
    observed_at timestamptz not null,
    deleted_at  timestamptz
);

create table @schema.service_categories (
    company_id  bigint not null,
    id          bigint not null,
    title       text not null,
    weight      integer,
    raw         jsonb not null,
    changed_at  timestamptz,
    observed_at timestamptz not null,
    deleted_at  timestamptz,
    primary key (company_id, id)
);

create table @schema.services (
    company_id    bigint not null,
    id            bigint not null,
    category_id   bigint,
    title         text not null,
    booking_title text not null,
    price_min     numeric,
    price_max     numeric,
    duration_s    integer,
    discount      numeric,
    active        boolean not null,
    comment       text not null,
    weight        integer,
    raw           jsonb not null,
    changed_at    timestamptz,
    observed_at   timestamptz not null,
    deleted_at    timestamptz,
    primary key (company_id, id)
);

create table @schema.staff (
    company_id     bigint not null,
    id             bigint not null,
    name           text not null,
    specialization text not null,
    position_title text,
    fired          boolean not null,
    hidden         boolean not null,
    user_id        bigint,
    weight         integer,
    raw            jsonb not null,
    changed_at     timestamptz,
    observed_at    timestamptz not null,
    deleted_at     timestamptz,
    primary key (company_id, id)
);

create table @schema.clients (
    company_id     bigint not null,
    id             bigint not null,
    name           text not null,
    surname        text not null,
    patronymic     text not null,
    phone          text,
    phone_raw      text not null,
    email          text not null,
    sex_id         integer,
    birth_date     date,
    discount       numeric,
    importance_id  integer,
    card           text not null,
    comment        text not null,
    categories     jsonb not null,
    spent          numeric,
    balance        numeric,
    visit_count    integer,
    first_visit_at timestamptz,
    last_visit_at  timestamptz,
    raw            jsonb not null,
    changed_at     timestamptz,
    observed_at    timestamptz not null,
    deleted_at     timestamptz,
    primary key (company_id, id)
);
create index clients_by_phone on @schema.clients (phone, company_id) where phone is not null;

create table @schema.records (
    company_id  bigint not null,
    id          bigint not null,
    visit_id    bigint,
    client_id   bigint,
    staff_id    bigint,
    starts_at   timestamptz not null,
    duration_s  integer,
    attendance  integer,
    status      text not null check (status in ('came', 'no_show', 'waiting', 'confirmed', 'cancelled')),
    online      boolean not null,
    comment     text not null,
    cost        numeric not null,
    paid        numeric,
    activity_id bigint,
    created_at  timestamptz,
    raw         jsonb not null,
    changed_at  timestamptz,
    observed_at timestamptz not null,
    deleted_at  timestamptz,
    primary key (company_id, id)
);
create index records_by_client on @schema.records (company_id, client_id, starts_at desc);
create index records_by_start on @schema.records (company_id, starts_at);
create index records_by_visit on @schema.records (company_id, visit_id);

create table @schema.record_services (
    company_id bigint not null,
    record_id  bigint not null,
    position   integer not null,
    service_id bigint,
    title      text not null,
    amount     numeric,
    unit_cost  numeric,
    discount   numeric,
    cost       numeric,
    primary key (company_id, record_id, position)
);

-- One row for each salon and stream: what is due when, who works on it, how far the pass is.
-- The salon 0 stands for the list of salons itself.
create table @schema.sync_status (
    company_id      bigint not null,
    stream          text not null,
    phase           text not null default 'new',      -- new, filling, closing, live, stopped
    expected        bigint,
    done            bigint not null default 0,
    cursor          jsonb,
    version         bigint not null default 0,        -- the fence: a page commits only on the version that it was planned on
    last_success_at timestamptz,                      -- the end of the last pass or delta that was proved
    proved_as_of    timestamptz,                      -- everything that changed before this instant is in the database
    last_error      text,
    error_code      text,
    error_since     timestamptz,
    failures        integer not null default 0,       -- in a row
    requests        bigint not null default 0,
    pass_started_at timestamptz,
    due_at          timestamptz default now(),        -- null: never by itself
    priority        integer not null default 0,
    claimed_by      bigint,
    claimed_at      timestamptz,
    wanted_at       timestamptz,                      -- a command asked for a pass; it is served when last_success_at is later
    options         jsonb not null default '{}',      -- that command's own batch size and so on
    batches         bigint not null default 0,
    updated_at      timestamptz not null default now(),
    primary key (company_id, stream)
) with (fillfactor = 50);

create table @schema.sync_batches (
    id          bigint generated always as identity primary key,
    company     bigint not null,
    company_id  bigint generated always as (company) stored,
    stream      text not null,
    preset      text not null,
    worker_id   bigint,
    started_at  timestamptz not null,
    finished_at timestamptz,
    outcome     text not null default 'running',      -- running, more, proved, failed, denied, stopped, fenced, lost
    requests    integer not null default 0,
    rows        integer not null default 0,
    errors      integer not null default 0,
    retries     integer not null default 0,
    throttled   integer not null default 0,
    detail      text
);
create index sync_batches_by_start on @schema.sync_batches (started_at);

create table @schema.quarantine (
    id          bigint generated always as identity primary key,
    company_id  bigint not null,
    stream      text not null,
    entity_id   text,
    reason      text not null,
    payload     jsonb not null,
    first_seen  timestamptz not null,
    last_seen   timestamptz not null,
    resolved_at timestamptz
);
create unique index quarantine_open on @schema.quarantine (company_id, stream, coalesce(entity_id, md5(payload::text)), reason)
    where resolved_at is null;

-- Rows that a running sweep did not find; deleted_at is set from here only when every page of the sweep has committed.
create table @schema.sweep_missing (
    company_id  bigint not null,
    stream      text not null,
    id          bigint not null,
    observed_at timestamptz not null,
    primary key (company_id, stream, id)
);

-- The clients of a pass that fetches history client by client, most active first.
create table @schema.history_queue (
    company_id bigint not null,
    position   integer not null,
    client_id  bigint not null,
    primary key (company_id, position)
);

create table @schema.workers (
    id         bigint generated always as identity primary key,
    role       text not null,                         -- service, sync
    host       text not null,                         -- this boot of this machine and its pid namespace
    pid        integer not null,
    pid_start  text not null,                         -- tells a process from a later one with the same pid
    egress     text not null,
    version    text not null,
    info       jsonb not null default '{}',
    started_at timestamptz not null default now(),
    beat_at    timestamptz not null default now()
) with (fillfactor = 50);

create table @schema.pauses (
    company_id bigint primary key,                    -- 0: all salons
    since      timestamptz not null default now()
);

create table @schema.limiter_egress (
    egress        text primary key,
    blocked_until timestamptz not null default '-infinity',
    slow_factor   double precision not null default 1,
    slow_since    timestamptz not null default '-infinity',
    throttled     bigint not null default 0
) with (fillfactor = 50);

-- One row for each request that fits a window; see limiter.sql.
create table @schema.limiter_slots (
    egress  text not null,
    kind    smallint not null check (kind in (1, 60)),  -- the window, seconds
    slot    integer not null,
    free_at timestamptz not null default '-infinity',
    owner   bigint,
    lease   bigint not null default 0,
    used_at timestamptz not null default '-infinity',
    primary key (egress, kind, slot)
) with (fillfactor = 30);

do $$
declare
    name text;
begin
    for name in select tablename from pg_tables where schemaname = '@schema_literal' loop
        execute format('alter table %I.%I enable row level security', '@schema_literal', name);
    end loop;
end
$$;
