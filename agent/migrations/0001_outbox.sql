-- The durable queue of one clinic box. Schema 1.

-- 'outbox_id': 16 random bytes; 'connection': how often the uplink has connected; 'ran_s': how many
-- seconds the agent has run with this file.
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;

-- The next seq of each lane. Kept apart from the rows, so that a number is never used twice.
CREATE TABLE lane (lane TEXT PRIMARY KEY, next_seq INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO lane VALUES ('urgent', 1), ('trend', 1), ('wave', 1);

-- One row is one envelope. Its bytes are in another table, so that what changes and what is counted
-- is a few pages. acked_s: 'ran_s' when the county had committed it; it is kept for a day after that.
CREATE TABLE envelope (
  lane TEXT NOT NULL,
  seq INTEGER NOT NULL,
  opened_at INTEGER NOT NULL,
  acked_s INTEGER,
  content INTEGER NOT NULL,
  PRIMARY KEY (lane, seq)
) WITHOUT ROWID;
CREATE INDEX envelope_acked ON envelope (acked_s) WHERE acked_s IS NOT NULL;

-- The bytes of envelopes, as they were encoded. Never changed.
CREATE TABLE content (number INTEGER PRIMARY KEY, bytes BLOB NOT NULL);

-- What a driver must know after a restart; written with the records it covers.
CREATE TABLE cursor (device TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID;

-- Identities of the last spot readings of each device: a repeat is not recorded again.
CREATE TABLE identity (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  device TEXT NOT NULL,
  identity TEXT NOT NULL
);
CREATE INDEX identity_of_device ON identity (device, number);
