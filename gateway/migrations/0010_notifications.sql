-- Schema 10: who was told.

-- The sinks of the configuration in force, written at each start; each list is a JSON array.
CREATE TABLE sink (
  name TEXT PRIMARY KEY, priorities TEXT NOT NULL, steps TEXT NOT NULL,
  sites TEXT                          -- NULL: all
) WITHOUT ROWID;

-- How far the story of each alert was looked at, and how far it was told or is nobody's business:
-- what is between the two waits until the alert sounds.
CREATE TABLE alert_told (
  alert TEXT PRIMARY KEY, seen INTEGER NOT NULL, told INTEGER NOT NULL
) WITHOUT ROWID;
-- What was before there were notifications is told to nobody.
INSERT INTO alert_told
  SELECT id, json_array_length(body, '$.timeline'), json_array_length(body, '$.timeline') FROM alert;

-- One step of an alert for one sink, or a summary of steps that are old news.
CREATE TABLE notification (
  id INTEGER PRIMARY KEY,             -- in the order in which they are told
  sink TEXT NOT NULL,
  alert TEXT NOT NULL,                -- of a summary: empty
  step TEXT NOT NULL,
  number INTEGER NOT NULL,            -- place of the step in the story of its alert; of the summary
  priority TEXT NOT NULL,
  site TEXT,
  at_ms INTEGER NOT NULL,             -- when the step was
  made_ms INTEGER NOT NULL,
  due_ms INTEGER NOT NULL,            -- it is not tried before
  old_ms INTEGER NOT NULL,            -- from then on it is old news
  state TEXT NOT NULL DEFAULT 'waiting',  -- in_summary, delivered, withdrawn
  summary INTEGER,                    -- the summary that tells it
  attempts INTEGER NOT NULL DEFAULT 0,
  body TEXT NOT NULL,                 -- JSON: the alert as it was at that step
  UNIQUE (sink, alert, step, number)
);
CREATE INDEX notification_state ON notification (sink, state, id);
CREATE INDEX notification_summary ON notification (summary) WHERE summary IS NOT NULL;
CREATE INDEX notification_made ON notification (made_ms);

-- What came of each attempt to deliver one.
CREATE TABLE notification_attempt (
  id INTEGER PRIMARY KEY,
  notification INTEGER NOT NULL REFERENCES notification (id) ON DELETE CASCADE,
  at_ms INTEGER NOT NULL, took_ms INTEGER NOT NULL,
  delivered INTEGER NOT NULL, detail TEXT NOT NULL
);
CREATE INDEX notification_attempts ON notification_attempt (notification);
