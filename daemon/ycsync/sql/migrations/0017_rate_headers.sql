-- works with: 9
-- What YCLIENTS says of the limit in the headers of its answers, and what others behind the same address use of it.
alter table @schema.limiter_egress
    add column server_limit     integer,
    add column server_remaining integer,
    add column server_resets_at timestamptz,
    add column server_said_at   timestamptz,
    add column others           integer,
    add column others_at        timestamptz,
    add column leaves_second    integer,
    add column leaves_minute    integer,
    add column held_until       timestamptz,
    add column shares_with      text[],
    add column shares_at        timestamptz;
