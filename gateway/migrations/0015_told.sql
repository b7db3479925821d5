-- Schema 15: what a person says of a result; how often a device speaks.

-- Who confirmed that it was measured two hours after the meal; NULL: nobody did.
ALTER TABLE spot ADD COLUMN two_hours_by TEXT;
ALTER TABLE spot ADD COLUMN two_hours_ms INTEGER;

-- As the configuration of its box says; NULL: as its kind does.
ALTER TABLE device ADD COLUMN expected_interval_ms INTEGER;
