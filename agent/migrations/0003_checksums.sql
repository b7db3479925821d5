-- Schema 3: what a flipped bit must not change unseen has a CRC-32 (src/outbox/checksum.rs).
-- NULL: written by an older agent.

ALTER TABLE urgent ADD COLUMN sum INTEGER;
ALTER TABLE trend ADD COLUMN sum INTEGER;
ALTER TABLE wave ADD COLUMN sum INTEGER;
ALTER TABLE settled ADD COLUMN sum INTEGER;
ALTER TABLE moved ADD COLUMN sum INTEGER;
ALTER TABLE cursor ADD COLUMN sum INTEGER;

-- The schema a second time, whatever it is from here on: of a file whose 'user_version' says
-- something else nobody knows whose it is, and it is damaged.
INSERT INTO meta VALUES ('schema', 3);
