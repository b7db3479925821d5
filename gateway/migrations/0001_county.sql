-- What the county keeps. Schema 1. Times are milliseconds since 1970, UTC.

CREATE TABLE site (
  site TEXT PRIMARY KEY,
  online INTEGER NOT NULL,
  connection INTEGER NOT NULL,        -- the agent's own count; an older one is ignored
  changed_ms INTEGER NOT NULL,
  agent_version TEXT NOT NULL,
  outbox TEXT NOT NULL,
  clock TEXT NOT NULL,
  backlog TEXT NOT NULL               -- JSON: envelopes per lane
) WITHOUT ROWID;

-- The account per site, outbox and lane: ranges as 1-5,7-7.
CREATE TABLE ledger (
  site TEXT NOT NULL, outbox TEXT NOT NULL, lane TEXT NOT NULL,
  received TEXT NOT NULL, dropped TEXT NOT NULL, quarantined TEXT NOT NULL,
  PRIMARY KEY (site, outbox, lane)
) WITHOUT ROWID;

-- Every envelope that was stored, by the hash of its bytes as received.
CREATE TABLE envelope (
  site TEXT NOT NULL, outbox TEXT NOT NULL, lane TEXT NOT NULL, seq INTEGER NOT NULL,
  hash BLOB NOT NULL, received_ms INTEGER NOT NULL,
  PRIMARY KEY (site, outbox, lane, seq)
) WITHOUT ROWID;

-- What could not be taken, wholly or in part, with its bytes and why; once, however often it comes.
CREATE TABLE quarantine (
  id INTEGER PRIMARY KEY, site TEXT NOT NULL, received_ms INTEGER NOT NULL,
  cause TEXT NOT NULL,
  rest INTEGER NOT NULL,              -- some of its records were taken
  hash BLOB NOT NULL, bytes BLOB NOT NULL,
  UNIQUE (site, hash)
);

CREATE TABLE reading (
  id INTEGER PRIMARY KEY,
  site TEXT NOT NULL, outbox TEXT NOT NULL, lane TEXT NOT NULL, seq INTEGER NOT NULL, idx INTEGER NOT NULL,
  device TEXT NOT NULL, channel TEXT NOT NULL, grp TEXT, metric TEXT NOT NULL,
  value TEXT, comparator TEXT, unit TEXT, canonical TEXT, no_data TEXT,
  validity TEXT NOT NULL, context TEXT NOT NULL,
  device_ms INTEGER, observed_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL,
  measured_ms INTEGER NOT NULL,       -- what the county made of the three when it came
  time_suspect INTEGER NOT NULL,      -- a clock was wrong or unknown
  clock TEXT NOT NULL, freshness TEXT NOT NULL, device_seq INTEGER, identity TEXT, duplicate_of INTEGER
);
CREATE UNIQUE INDEX reading_place ON reading (site, outbox, lane, seq, idx);
CREATE INDEX reading_observed ON reading (observed_ms, id);
CREATE INDEX reading_series ON reading (site, device, metric, observed_ms);
CREATE INDEX reading_identity ON reading (site, device, identity) WHERE identity IS NOT NULL;

-- The newest reading of each series; times by the county's clock.
CREATE TABLE latest (
  site TEXT NOT NULL, device TEXT NOT NULL, channel TEXT NOT NULL, metric TEXT NOT NULL,
  heard_ms INTEGER NOT NULL, measured_ms INTEGER NOT NULL,
  place_ms INTEGER NOT NULL,          -- when it was measured, or heard where that cannot be
  reading INTEGER NOT NULL,
  PRIMARY KEY (site, device, channel, metric)
) WITHOUT ROWID;

CREATE TABLE waveform (
  id INTEGER PRIMARY KEY,
  site TEXT NOT NULL, outbox TEXT NOT NULL, lane TEXT NOT NULL, seq INTEGER NOT NULL, idx INTEGER NOT NULL,
  device TEXT NOT NULL, channel TEXT NOT NULL, metric TEXT NOT NULL,
  start_ms INTEGER NOT NULL, period_num INTEGER NOT NULL, period_den INTEGER NOT NULL,
  scale TEXT, zero INTEGER, unit TEXT, flags TEXT NOT NULL,
  samples BLOB NOT NULL               -- first difference, zigzag, LEB128
);
CREATE INDEX waveform_series ON waveform (device, metric, start_ms);

CREATE TABLE device (
  site TEXT NOT NULL, device TEXT NOT NULL, kind TEXT NOT NULL, driver TEXT NOT NULL,
  state TEXT NOT NULL, reason TEXT NOT NULL, about TEXT NOT NULL, changed_ms INTEGER NOT NULL,
  PRIMARY KEY (site, device)
) WITHOUT ROWID;

CREATE TABLE device_alarm (
  id INTEGER PRIMARY KEY, site TEXT NOT NULL, device TEXT NOT NULL, phase TEXT NOT NULL,
  kind TEXT NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL, priority TEXT,
  observed_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL
);

CREATE TABLE drop_record (
  id INTEGER PRIMARY KEY, site TEXT NOT NULL, outbox TEXT NOT NULL, lane TEXT NOT NULL,
  first INTEGER NOT NULL, last INTEGER NOT NULL, from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL,
  cause TEXT NOT NULL
);

-- Alerts as the API tells them; state and priority apart for questions.
CREATE TABLE alert (
  id TEXT PRIMARY KEY, site TEXT NOT NULL, device TEXT NOT NULL, state TEXT NOT NULL,
  priority TEXT NOT NULL, started_ms INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX alert_started ON alert (started_ms);

-- What the rules know of each device, kept over restarts.
CREATE TABLE engine (
  site TEXT NOT NULL, device TEXT NOT NULL,
  due_ms INTEGER,                     -- when the passing of time has something to do, by the rules in force
  state TEXT NOT NULL,
  PRIMARY KEY (site, device)
) WITHOUT ROWID;
CREATE INDEX engine_due ON engine (due_ms) WHERE due_ms IS NOT NULL;

CREATE TABLE person (
  name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL,
  disabled INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE token (hash TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, created_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE session (hash TEXT PRIMARY KEY, name TEXT NOT NULL, opened_ms INTEGER NOT NULL) WITHOUT ROWID;
