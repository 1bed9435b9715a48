-- works with: 9
-- Whether YCLIENTS names the salon's time zone: where it does not, `timezone` is UTC, and times are read by their own offsets.
alter table @schema.companies add column timezone_known boolean not null default true;
-- Until now such a salon silently became UTC. The next list of salons tells.
update @schema.companies set timezone_known = false
where timezone = 'UTC' and btrim(coalesce(raw ->> 'timezone_name', '')) <> 'UTC'
  and btrim(coalesce(raw ->> 'timezone', '')) !~ '^(UTC|[+-]?0+([.]0*)?)$';

-- By which zone the stream's stored times were worked out: the salon's zone then, an empty text where it was unknown; null: not
-- known, so they are worked out again.
alter table @schema.sync_status add column zone text;
