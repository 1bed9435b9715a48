-- works with: 9
-- Visits that name a client who vanished: YCLIENTS may have moved them to another card without a new date of change, so they are
-- asked for again. Those that were left behind before this table was there come with the reading of all visits that 0.1.0's cursors
-- lead to.
create table @schema.visits_to_check (
    company_id bigint not null,
    id         bigint not null,                       -- in records
    since      timestamptz not null default clock_timestamp(),
    moved      boolean not null default false,        -- the vanished client's own list does not show it: it is read by its date
    primary key (company_id, id)
);
alter table @schema.visits_to_check enable row level security;
