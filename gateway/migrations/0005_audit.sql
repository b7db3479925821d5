-- Schema 5: who did what, in a chain in which nothing can be changed unnoticed; who may do what where.

CREATE TABLE audit (
  id INTEGER PRIMARY KEY,             -- 1, 2, 3, without a gap
  body TEXT NOT NULL,                 -- JSON array: version, id, ms since 1970, who, action, what, details
  hash BLOB NOT NULL                  -- SHA-256 of the hash before it and of the body as it stands here
);

-- JSON list of township clinics; NULL: the whole county.
ALTER TABLE person ADD COLUMN scope TEXT;
ALTER TABLE token ADD COLUMN scope TEXT;

ALTER TABLE token ADD COLUMN used_ms INTEGER;
ALTER TABLE token ADD COLUMN revoked_ms INTEGER;

-- With what the gateway was started last: what differs from it is an entry of the chain.
CREATE TABLE setting (
  key TEXT PRIMARY KEY,               -- a key of gateway.toml, or the id of a rule
  hash TEXT NOT NULL                  -- of its value; the value may be nobody's business
) WITHOUT ROWID;
