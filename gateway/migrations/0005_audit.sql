-- Schema 5: who did what, in a chain in which nothing can be changed unnoticed.

CREATE TABLE audit (
  id INTEGER PRIMARY KEY,             -- 1, 2, 3, without a gap
  body TEXT NOT NULL,                 -- JSON array: version, id, ms since 1970, who, action, what, details
  hash BLOB NOT NULL                  -- SHA-256 of the hash before it and of the body as it stands here
);
