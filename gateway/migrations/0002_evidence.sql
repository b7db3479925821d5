-- Schema 2: which county this is, and where what is kept aside belongs.

-- One row.
CREATE TABLE county (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  generation INTEGER NOT NULL,        -- random, another one after a restore: what was acked may be gone
  copied_ms INTEGER,                  -- in a backup, and in what was restored from one: when it was made
  restored_ms INTEGER
);
INSERT INTO county VALUES (1, abs(random() / 2) + 1, NULL, NULL);

-- NULL where they could not be read.
ALTER TABLE quarantine ADD COLUMN outbox TEXT;
ALTER TABLE quarantine ADD COLUMN lane TEXT;
ALTER TABLE quarantine ADD COLUMN seq INTEGER;

CREATE INDEX quarantine_place ON quarantine (site, outbox, lane, seq) WHERE NOT rest;
CREATE INDEX alert_open ON alert (site, device, started_ms) WHERE state <> 'closed';
CREATE INDEX drop_record_place ON drop_record (site, outbox, lane, first);

-- Bytes as which an envelope was first written that is stored under the number of another outbox.
CREATE TABLE moved (
  site TEXT NOT NULL, hash BLOB NOT NULL,
  PRIMARY KEY (site, hash)
) WITHOUT ROWID;

-- waveform.samples is codec 2 of the uplink from here on; what is of codec 1 is written anew.

-- What was done to devices: their clocks were set. Some builds of schema 1 have it.
CREATE TABLE IF NOT EXISTS device_action (
  id INTEGER PRIMARY KEY, site TEXT NOT NULL, device TEXT NOT NULL, action TEXT NOT NULL,
  text TEXT NOT NULL, observed_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL
);
