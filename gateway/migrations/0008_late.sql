-- Schema 8: what came late and waits to be judged.

-- Of each device what came late, or after what was measured later; measured times by the county's clock.
CREATE TABLE late_device (
  site TEXT NOT NULL, device TEXT NOT NULL,
  judged INTEGER NOT NULL,            -- 0: it comes in; 1: a pass goes over it, and goes on after a restart
  from_ms INTEGER, until_ms INTEGER,  -- what the box stamped, in whose order it is kept; or NULL
  stamped_from_ms INTEGER,            -- what the device stamped itself, in any order; or NULL
  first_ms INTEGER NOT NULL,          -- when the first of it came, and the last
  last_ms INTEGER NOT NULL,
  PRIMARY KEY (site, device, judged)
) WITHOUT ROWID;

-- Of each site what came late the last time that anything did.
CREATE TABLE late_site (
  site TEXT PRIMARY KEY,
  from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL,
  readings INTEGER NOT NULL,
  alerts INTEGER NOT NULL,            -- that were made of it
  left_out INTEGER NOT NULL,          -- episodes that were not, because one of the same rule was worse
  worst TEXT NOT NULL                 -- JSON: the worst value by device and rule
) WITHOUT ROWID;

-- Episodes that are part of an alert with another id.
CREATE TABLE alert_joined (
  id TEXT PRIMARY KEY,
  alert TEXT NOT NULL
) WITHOUT ROWID;

-- What keeps rules from judging is asked again when what was measured with it comes late.
ALTER TABLE device_alarm ADD COLUMN channel TEXT NOT NULL DEFAULT '';
ALTER TABLE device_alarm ADD COLUMN source TEXT;
ALTER TABLE device_alarm ADD COLUMN placed_ms INTEGER; -- by the county's clock; NULL: of before
CREATE INDEX device_alarm_suppresses ON device_alarm (site, device, placed_ms)
  WHERE kind IN ('TECH-LEADOFF', 'TECH-PROBEOFF');
