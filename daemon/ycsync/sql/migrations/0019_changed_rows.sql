-- works with: 9
-- Who copies the two large tables asks what changed since an instant (docs/data-model.md). While the index is made, ycsync's
-- writes to the table wait.
create index clients_by_observed on @schema.clients (company_id, observed_at);
create index records_by_observed on @schema.records (company_id, observed_at);
