-- Schema 18: up to where the chain of what people did was found whole.

-- One row: the head at the end of the last walk of the gateway that found nothing. An end that was cut
-- off since is found by it.
CREATE TABLE audit_head (
  id INTEGER NOT NULL,                -- of the entry
  hash TEXT NOT NULL                  -- its hash, hexadecimal
);
