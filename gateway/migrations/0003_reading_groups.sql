-- What a device said as one thing is one row: a reading of its own costs a row, four entries of
-- indexes and the same names again.

-- Names that repeat, as small numbers.
CREATE TABLE source (
  id INTEGER PRIMARY KEY, site TEXT NOT NULL, device TEXT NOT NULL, UNIQUE (site, device)
);
CREATE TABLE outbox_lane (
  id INTEGER PRIMARY KEY, site TEXT NOT NULL, outbox TEXT NOT NULL, lane TEXT NOT NULL,
  UNIQUE (site, outbox, lane)
);
-- The metrics of a group in their order, separated by commas.
CREATE TABLE metric_list (id INTEGER PRIMARY KEY, metrics TEXT NOT NULL UNIQUE);

CREATE TABLE reading_group (
  id INTEGER PRIMARY KEY,
  source INTEGER NOT NULL,
  -- Its place; idx is that of its first reading, the others follow.
  outbox_lane INTEGER NOT NULL, seq INTEGER NOT NULL, idx INTEGER NOT NULL,
  channel TEXT NOT NULL,
  compound TEXT,                      -- the metric of the whole (nibp), or NULL
  metric_list INTEGER NOT NULL,
  -- JSON: of each metric a text, its number in the canonical unit of the catalogue, valid and
  -- without comparator; or an object of what is not NULL: value, comparator, unit, no_data, validity.
  said TEXT NOT NULL,
  context TEXT,                       -- JSON; NULL: none
  device_ms INTEGER, observed_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL,
  measured_ms INTEGER NOT NULL,       -- what the county made of the three when it came
  time_suspect INTEGER NOT NULL,      -- a clock was wrong or unknown
  clock TEXT,                         -- NULL: synchronised
  freshness TEXT,                     -- NULL: fresh
  device_seq INTEGER, identity TEXT,
  duplicate_of INTEGER                -- the first of those with that identity that is kept
);

-- The newest group of each kind of a source; times by the county's clock.
CREATE TABLE latest_group (
  source INTEGER NOT NULL, channel TEXT NOT NULL, metric_list INTEGER NOT NULL,
  heard_ms INTEGER NOT NULL, measured_ms INTEGER NOT NULL,
  place_ms INTEGER NOT NULL,          -- when it was measured, or heard where that cannot be
  reading_group INTEGER NOT NULL,
  PRIMARY KEY (source, channel, metric_list)
) WITHOUT ROWID;
