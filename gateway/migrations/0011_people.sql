-- Schema 11: passwords that are one's own, rights that a second administrator confirms, results that
-- wait by site.

-- Who gave the password knows it: it opens nothing until the person has set another one.
ALTER TABLE person ADD COLUMN given_password INTEGER NOT NULL DEFAULT 0;
ALTER TABLE person ADD COLUMN pin TEXT; -- argon2; NULL: none, the password stands for it

-- When the person last proved or showed to be there.
ALTER TABLE session ADD COLUMN confirmed_ms INTEGER NOT NULL DEFAULT 0;
UPDATE session SET confirmed_ms = opened_ms;

-- Rights that wait for an administrator of another kind; the role and scope of before hold until then.
CREATE TABLE pending_rights (
  name TEXT PRIMARY KEY,              -- of the person
  role TEXT NOT NULL, scope TEXT,     -- as in table person
  asked_by TEXT NOT NULL, until_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- Not in force yet, and never after that moment; NULL: in force.
ALTER TABLE token ADD COLUMN pending_until_ms INTEGER;
ALTER TABLE token ADD COLUMN made_by TEXT; -- NULL: nobody wrote it down

ALTER TABLE spot ADD COLUMN site TEXT NOT NULL DEFAULT '';
UPDATE spot SET site = (SELECT site FROM outbox_lane WHERE id = spot.outbox_lane);
CREATE INDEX spot_tray ON spot (site, reading_group) WHERE patient IS NULL;
