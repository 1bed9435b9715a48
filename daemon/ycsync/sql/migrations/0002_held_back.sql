-- What a sweep that stopped asks. It stays until a sweep ends otherwise: a failure or a new wish must not answer it.
alter table @schema.sync_status add column held_back text;
update @schema.sync_status set held_back = last_error where error_code = 'held_back';
