-- What an alert is called at its box, where that is another name than here.
CREATE INDEX edge_period_joined ON edge_period (joined) WHERE alert <> joined;
CREATE INDEX alert_joined_of ON alert_joined (alert);
