-- Schema 16: how often boxes and devices were lost.

-- A box or device was heard or lost from a moment on, by the county's clock.
CREATE TABLE link_word (
  id INTEGER PRIMARY KEY,
  site TEXT NOT NULL,
  device TEXT NOT NULL,               -- empty: the box itself
  at_ms INTEGER NOT NULL,
  is_up INTEGER NOT NULL
);
CREATE INDEX link_word_of ON link_word (site, device, at_ms);

-- How it is when the counting begins.
INSERT INTO link_word (site, device, at_ms, is_up)
  SELECT site, '', changed_ms, online FROM site;
INSERT INTO link_word (site, device, at_ms, is_up)
  SELECT site, device, changed_ms, state NOT IN ('silent', 'link_down') FROM device;
