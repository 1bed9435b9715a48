-- works with: 9
-- A list may leave out the fired, and what is offered no more: who is not in it is gone only if nothing that is stored names them.
-- An older ycsync goes on as it did: it marks them deleted.

alter table @schema.staff add column listed boolean not null default true;
alter table @schema.services add column listed boolean not null default true;
alter table @schema.service_categories add column listed boolean not null default true;

-- What was called deleted because it left its list comes back; what YCLIENTS itself called deleted does not.
update @schema.staff t set listed = false, deleted_at = null, observed_at = greatest(t.observed_at, clock_timestamp())
where t.deleted_at is not null and @schema.json_amount(t.raw -> 'status') is distinct from 1
  and exists (select from @schema.records n where n.company_id = t.company_id and n.staff_id = t.id);

update @schema.services t set listed = false, deleted_at = null, observed_at = greatest(t.observed_at, clock_timestamp())
where t.deleted_at is not null and coalesce(t.raw ->> 'deleted', '') not in ('true', '1')
  and exists (select from @schema.record_services n where n.company_id = t.company_id and n.service_id = t.id);

update @schema.service_categories t set listed = false, deleted_at = null, observed_at = greatest(t.observed_at, clock_timestamp())
where t.deleted_at is not null and coalesce(t.raw ->> 'deleted', '') not in ('true', '1')
  and exists (select from @schema.services n where n.company_id = t.company_id and n.category_id = t.id and n.deleted_at is null);
