-- Schema 9: who is on duty.

-- The township clinic of each site, as configured when the gateway started last.
CREATE TABLE township (site TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE duty (
  township TEXT NOT NULL,             -- its name; '' for all that name nobody themselves
  level TEXT NOT NULL,                -- first, second, township_doctor, county_on_call
  from_hour INTEGER NOT NULL,         -- hour of the week, local time; 0 begins on Monday
  until_hour INTEGER NOT NULL,        -- at most 168; this hour is not of it
  person TEXT NOT NULL,
  PRIMARY KEY (township, level, from_hour)
) WITHOUT ROWID;

-- Alerts of before are told with all members, as those of today are.
UPDATE alert SET body = json_set(body,
  '$.owner', json_extract(body, '$.acknowledged_by'), '$.assigned_to', NULL,
  '$.shelved_by', NULL, '$.shelved_until', NULL, '$.shelf_reason', NULL, '$.condition', state,
  '$.suppressed_by', NULL, '$.escalation_level', 'first', '$.realarm_count', 0);
CREATE INDEX alert_raised ON alert (json_extract(body, '$.raised_at'));
