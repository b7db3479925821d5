-- Schema 6: patients, which device is on whom, and whose each result is.

-- Nothing here says who somebody is: that is in patient_name alone, so that it can be erased.
CREATE TABLE patient (
  patient TEXT PRIMARY KEY,           -- random, made of nothing else
  clinic TEXT NOT NULL,               -- name of the township clinic
  about TEXT NOT NULL,                -- JSON: what the rules and the board need of a person
  discharged_ms INTEGER,
  version INTEGER NOT NULL,           -- grows by 1 with each change
  changed_by TEXT NOT NULL, changed_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX patient_clinic ON patient (clinic);

CREATE TABLE patient_name (patient TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;

-- A device is on a patient, stands at a bed, or both: from, and until before.
CREATE TABLE binding (
  id INTEGER PRIMARY KEY,
  site TEXT NOT NULL, device TEXT NOT NULL,
  patient TEXT, bed TEXT,
  from_ms INTEGER NOT NULL, until_ms INTEGER,
  version INTEGER NOT NULL,           -- of the list of its site with the last change of this row
  made_by TEXT NOT NULL, made_ms INTEGER NOT NULL, reason TEXT NOT NULL,
  ended_by TEXT, ended_ms INTEGER, ended_reason TEXT
);
CREATE INDEX binding_device ON binding (site, device, from_ms);
CREATE INDEX binding_patient ON binding (patient) WHERE patient IS NOT NULL;

-- Version of the list of bindings of a site: grows by 1 with each change.
CREATE TABLE binding_list (site TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;

-- What a nurse saw and no device measures.
CREATE TABLE nurse_entry (
  id INTEGER PRIMARY KEY, patient TEXT NOT NULL,
  consciousness TEXT,                 -- A, C, V, P, U; NULL: not said
  oxygen INTEGER,                     -- whether oxygen is given; NULL: not said
  taken_ms INTEGER NOT NULL, made_by TEXT NOT NULL, made_ms INTEGER NOT NULL
);
CREATE INDEX nurse_entry_patient ON nurse_entry (patient, taken_ms);

-- A limit of one patient, in the place of that of a rule.
CREATE TABLE patient_limit (
  id INTEGER PRIMARY KEY, patient TEXT NOT NULL,
  rule TEXT NOT NULL,
  value TEXT,                         -- NULL: the rule is off
  until_ms INTEGER NOT NULL, reason TEXT NOT NULL,
  made_by TEXT NOT NULL, made_ms INTEGER NOT NULL,
  ended_by TEXT, ended_ms INTEGER
);
CREATE INDEX patient_limit_patient ON patient_limit (patient);

-- Results that are an event of their own, and whose they are; it goes with its reading group.
CREATE TABLE spot (
  reading_group INTEGER PRIMARY KEY REFERENCES reading_group (id) ON DELETE CASCADE,
  outbox_lane INTEGER NOT NULL, seq INTEGER NOT NULL, idx INTEGER NOT NULL,
  bound TEXT,                         -- patient on whom the device was when it was measured
  patient TEXT                        -- whose it is; NULL: it waits for a patient
);
CREATE UNIQUE INDEX spot_place ON spot (outbox_lane, seq, idx);
CREATE INDEX spot_waiting ON spot (reading_group) WHERE patient IS NULL;
CREATE INDEX spot_patient ON spot (patient) WHERE patient IS NOT NULL;

-- A person moved a result; the last one counts.
CREATE TABLE reassignment (
  id INTEGER PRIMARY KEY,
  outbox_lane INTEGER NOT NULL, seq INTEGER NOT NULL, idx INTEGER NOT NULL,
  before TEXT, patient TEXT,          -- NULL: it waited, it waits
  reason TEXT NOT NULL, made_by TEXT NOT NULL, made_ms INTEGER NOT NULL
);
CREATE INDEX reassignment_place ON reassignment (outbox_lane, seq, idx);

-- Results travel in the urgent lane, and nobody was bound to anything. A control solution is no patient's.
INSERT INTO spot (reading_group, outbox_lane, seq, idx)
SELECT reading_group.id, outbox_lane, seq, idx FROM reading_group
CROSS JOIN outbox_lane ON outbox_lane.id = reading_group.outbox_lane
CROSS JOIN metric_list ON metric_list.id = reading_group.metric_list
WHERE lane = 'urgent' AND metrics <> 'glu_control';
