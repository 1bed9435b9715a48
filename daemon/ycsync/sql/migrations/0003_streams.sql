-- works with: 2
-- The tables of the declared streams (model/streams.py).

create table @schema.schedules (
    company_id  bigint not null,
    id          bigint not null,                      -- of the master and the day: the API gives none
    staff_id    bigint not null,
    date        date not null,
    is_working  boolean not null,
    slots       jsonb not null,
    raw         jsonb not null,
    changed_at  timestamptz,
    observed_at timestamptz not null,
    deleted_at  timestamptz,
    primary key (company_id, id)
);
create index schedules_by_date on @schema.schedules (company_id, date);

create table @schema.goods (
    company_id  bigint not null,
    id          bigint not null,
    title       text not null,
    article     text not null,
    category_id bigint,
    cost        numeric,
    actual_cost numeric,
    unit        text not null,
    amounts     jsonb not null,
    raw         jsonb not null,
    changed_at  timestamptz,
    observed_at timestamptz not null,
    deleted_at  timestamptz,
    primary key (company_id, id)
);

create table @schema.goods_operations (
    company_id  bigint not null,
    id          bigint not null,
    document_id bigint,
    type_id     integer,
    type        text not null,
    good_id     bigint,
    good_title  text not null,
    storage_id  bigint,
    amount      numeric,
    unit_cost   numeric,
    discount    numeric,
    cost        numeric,
    staff_id    bigint,
    client_id   bigint,
    record_id   bigint,
    created_at  timestamptz not null,
    raw         jsonb not null,
    changed_at  timestamptz,
    observed_at timestamptz not null,
    deleted_at  timestamptz,
    primary key (company_id, id)
);
create index goods_operations_by_date on @schema.goods_operations (company_id, created_at);
create index goods_operations_by_client on @schema.goods_operations (company_id, client_id) where client_id is not null;

create table @schema.transactions (
    company_id  bigint not null,
    id          bigint not null,
    document_id bigint,
    expense_id  bigint,
    expense     text not null,
    account_id  bigint,
    account     text not null,
    amount      numeric not null,
    comment     text not null,
    staff_id    bigint,
    client_id   bigint,
    record_id   bigint,
    visit_id    bigint,
    paid_at     timestamptz not null,
    raw         jsonb not null,
    changed_at  timestamptz,
    observed_at timestamptz not null,
    deleted_at  timestamptz,
    primary key (company_id, id)
);
create index transactions_by_date on @schema.transactions (company_id, paid_at);
create index transactions_by_client on @schema.transactions (company_id, client_id) where client_id is not null;
create index transactions_by_record on @schema.transactions (company_id, record_id) where record_id is not null;

-- When a sweep missed a row first: where nothing tells what moved, a row is gone when it was missed twice.
alter table @schema.sweep_missing add column since timestamptz not null default clock_timestamp();

alter table @schema.schedules enable row level security;
alter table @schema.goods enable row level security;
alter table @schema.goods_operations enable row level security;
alter table @schema.transactions enable row level security;
