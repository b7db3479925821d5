-- Schema 2: a table for each lane instead of 'lane', 'envelope' and 'content', which are emptied in
-- steps and dropped (src/outbox/migration.rs).

-- One row is one envelope, as it was encoded, and is never changed: rows are appended at the end,
-- and deleted in ranges. 'place' is the seq, plus what 'moved' says.
CREATE TABLE urgent (place INTEGER PRIMARY KEY, opened_at INTEGER NOT NULL, bytes BLOB NOT NULL);
CREATE TABLE trend (place INTEGER PRIMARY KEY, opened_at INTEGER NOT NULL, bytes BLOB NOT NULL);
CREATE TABLE wave (place INTEGER PRIMARY KEY, opened_at INTEGER NOT NULL, bytes BLOB NOT NULL);

-- Seqs that are not sent any more. acked_s: 'ran_s' of the end of the hour in which the county had
-- committed them; their rows are kept for a day after that. NULL: given up, or the day is over.
-- Every seq that was assigned has a row of its lane, or is in here: the next one is one more than
-- the highest of both.
CREATE TABLE settled (
  lane TEXT NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  acked_s INTEGER,
  PRIMARY KEY (lane, first)
) WITHOUT ROWID;

-- An outbox that started anew gave its rows new seqs and left them where they are: from the seq
-- 'first' on, a row is at the place 'shift' above its seq.
CREATE TABLE moved (
  lane TEXT NOT NULL,
  first INTEGER NOT NULL,
  shift INTEGER NOT NULL,
  PRIMARY KEY (lane, first)
) WITHOUT ROWID;
