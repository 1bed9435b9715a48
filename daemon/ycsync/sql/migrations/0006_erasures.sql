-- works with: 2
-- What was erased, and must not come back: the audit and the list that each page is held against. Ids and times, no name, no phone.
create table @schema.erasures (
    id         bigint generated always as identity primary key,
    company_id bigint not null,
    client_id  bigint,                                   -- null: the whole salon
    erased_at  timestamptz not null default now(),
    rows       jsonb not null,                           -- how many, by table
    role       text not null default current_user,       -- of the database, that erased
    seen_at    timestamptz,                              -- YCLIENTS still had the client then
    lifted_at  timestamptz                               -- since then it may be read again; null: it may not
);
create index erasures_in_force on @schema.erasures (company_id, client_id) where lifted_at is null;
alter table @schema.erasures enable row level security;
