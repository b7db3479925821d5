-- Schema 7: versions of the rules, what boxes are told, and what alerts became at boxes.

CREATE TABLE rule_set (
  version INTEGER PRIMARY KEY,        -- 1, 2, 3: no number is used again
  text TEXT NOT NULL,                 -- as it was written; boxes get these bytes
  sha256 TEXT NOT NULL,               -- of the text, in hex
  author TEXT NOT NULL,               -- "program" for what came with it or its [rules] file
  created_ms INTEGER NOT NULL,
  note TEXT NOT NULL,
  approver TEXT, approved_ms INTEGER, -- NULL for a draft
  live INTEGER NOT NULL DEFAULT 0 CHECK (live IN (0, 1))
);
CREATE UNIQUE INDEX rule_set_live ON rule_set (live) WHERE live = 1;

-- What a box was told last.
CREATE TABLE site_policy (
  site TEXT PRIMARY KEY,
  version INTEGER NOT NULL,           -- strictly increasing, also over a restore: at least ms since 1970
  made_ms INTEGER NOT NULL,
  content TEXT NOT NULL               -- SHA-256 of what it says, without version and time
) WITHOUT ROWID;

-- What alerts became at boxes, as told: one row a change.
CREATE TABLE edge_alert (
  id INTEGER PRIMARY KEY,
  site TEXT NOT NULL, device TEXT NOT NULL, family TEXT NOT NULL,
  alert TEXT NOT NULL,                -- its id at the box
  at_ms INTEGER NOT NULL,             -- when it happened, by the county's clock
  received_ms INTEGER NOT NULL,
  what TEXT NOT NULL,
  body TEXT NOT NULL                  -- the rest, as JSON
);
CREATE INDEX edge_alert_of ON edge_alert (site, alert);

-- Since when and until when a box has reported a family of a device: no pass over late readings
-- speaks for it.
CREATE TABLE edge_period (
  site TEXT NOT NULL, device TEXT NOT NULL, family TEXT NOT NULL,
  alert TEXT NOT NULL,                -- its id at the box
  joined TEXT NOT NULL,               -- id of the county's alert that it is one with; mostly the same
  from_ms INTEGER NOT NULL,
  until_ms INTEGER,                   -- NULL while it goes on
  PRIMARY KEY (site, alert)
) WITHOUT ROWID;
CREATE INDEX edge_period_of ON edge_period (site, device, family, from_ms);
