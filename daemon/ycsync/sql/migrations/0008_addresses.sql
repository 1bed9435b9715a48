-- works with: 2
-- By which address a process's requests leave, and as which the database sees it: two names of `egress` behind one are found.
alter table @schema.workers add column address text, add column seen_from text;
