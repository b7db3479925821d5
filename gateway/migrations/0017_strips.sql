-- Schema 17: which waveforms stay with alerts.

-- What of a device's waveforms is kept for ever: around the begin of an alarm, by the rules that were
-- live when it came; times by the county's clock. None is longer than twenty minutes.
CREATE TABLE strip (
  site TEXT NOT NULL, device TEXT NOT NULL, from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL,
  PRIMARY KEY (site, device, from_ms)
) WITHOUT ROWID;

-- Of before: the widest that any version of the rules or the program's own gives, of each alarm that
-- is kept, and of each alert on every device that was on its patient when it began or came back.
WITH
  wide (rule, before_ms, after_ms) AS (
    SELECT rule, 1000 * min(max(before_s), 600), 1000 * min(max(after_s), 600) FROM (
      SELECT value ->> '$.id' AS rule, value ->> '$.strip.before_s' AS before_s,
        value ->> '$.strip.after_s' AS after_s
      FROM rule_set, json_each(iif(json_valid(text), text, '{}'), '$.rules') AS rules
      WHERE rules.type = 'object'
      UNION ALL VALUES ('DEV-ASYSTOLE', 10, 20), ('DEV-VFVT', 10, 20), ('DEV-VT', 10, 20),
        ('DEV-BRADY-EXTREME', 10, 20), ('DEV-TACHY-EXTREME', 10, 20), ('DEV-APNOEA', 10, 20)
    ) WHERE before_s IS NOT NULL AND after_s IS NOT NULL GROUP BY rule
  ),
  told (site, device, patient, rule, at_ms) AS (
    SELECT site, device, body ->> '$.patient', named.value, started_ms
    FROM alert, json_each(body, '$.rules') AS named
    UNION
    SELECT site, device, body ->> '$.patient', step.value ->> '$.detail',
      CAST(1000 * unixepoch(step.value ->> '$.at', 'subsec') AS INTEGER)
    FROM alert, json_each(body, '$.timeline') AS step
    WHERE step.value ->> '$.what' IN ('raised', 'raised_late', 'recurred', 'priority_rose')
  ),
  began (site, device, rule, at_ms) AS (
    SELECT site, device, kind, coalesce(placed_ms, observed_ms) FROM device_alarm
    WHERE phase = 'start' AND kind IN (SELECT rule FROM wide)
    UNION SELECT site, device, rule, at_ms FROM told
    UNION SELECT told.site, binding.device, rule, at_ms FROM told JOIN binding
      ON binding.site = told.site AND binding.patient = told.patient
      AND from_ms <= at_ms AND ifnull(until_ms > at_ms, 1)
  )
INSERT INTO strip
  SELECT site, device, at_ms - before_ms, max(at_ms + after_ms) FROM began JOIN wide USING (rule)
  WHERE at_ms IS NOT NULL GROUP BY site, device, at_ms - before_ms;
