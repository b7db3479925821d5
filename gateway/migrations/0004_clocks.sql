-- Schema 4: when things were, also where the clock of a box was wrong.

-- From here on reading_group.observed_ms and waveform.start_ms are by the county's clock. What the box's
-- clock said; NULL where that is the same.
ALTER TABLE reading_group ADD COLUMN box_ms INTEGER;
ALTER TABLE waveform ADD COLUMN box_ms INTEGER;

-- When each boot of a box was, by the county's clock.
CREATE TABLE boot (
  site TEXT NOT NULL,
  boot INTEGER NOT NULL,              -- its random number
  zero_ms INTEGER NOT NULL,           -- the earliest that anything that came of it allows
  heard_ms INTEGER NOT NULL,          -- what the last state alone says
  PRIMARY KEY (site, boot)
) WITHOUT ROWID;

-- The clock of a box was set, or is trusted otherwise than before; times by the box.
CREATE TABLE clock_change (
  id INTEGER PRIMARY KEY, site TEXT NOT NULL,
  before_ms INTEGER NOT NULL,         -- what it would have said, had nobody set it
  at_ms INTEGER NOT NULL,
  quality TEXT NOT NULL, evidence TEXT NOT NULL, received_ms INTEGER NOT NULL
);
CREATE INDEX clock_change_site ON clock_change (site, id);

-- Why the clock of a box is trusted so.
ALTER TABLE site ADD COLUMN clock_evidence TEXT NOT NULL DEFAULT '';
