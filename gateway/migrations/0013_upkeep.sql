-- Schema 13: what somebody has to look after at a box, by its last word; NULL where it says nothing.

ALTER TABLE site ADD COLUMN free_pct INTEGER;           -- of the disk of its outbox, in percent
ALTER TABLE site ADD COLUMN certificate_until_ms INTEGER;
