-- Schema 19: since when a device signals something is asked of each of its alarms that comes late after
-- it was put on somebody else.
CREATE INDEX device_alarm_said ON device_alarm (site, device, code, channel, placed_ms);
