-- Schema 14: passwords that are given anew, sessions of boards on a wall.

-- Waits for an administrator of another kind; the password of before holds until then.
CREATE TABLE pending_password (
  name TEXT PRIMARY KEY,              -- of the person
  password TEXT NOT NULL,             -- argon2
  asked_by TEXT NOT NULL, until_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- When it was used last, to an hour; kept for boards on a wall only, whose session lasts while it is.
ALTER TABLE session ADD COLUMN used_ms INTEGER NOT NULL DEFAULT 0;
UPDATE session SET used_ms = opened_ms;
