// What comes first: alerts, tiles, the numbers of a tile. Pure.

const UNACKNOWLEDGED = ['active_unack', 'cleared_unack'];

/** Alerts nobody has in hand. */
export function isUnacknowledged(alert) {
  return UNACKNOWLEDGED.includes(alert.state) || (alert.state === 'unknown' && !alert.acknowledged_by);
}

/** Unacknowledged high, unacknowledged medium, unknown, acknowledged, low, set aside. */
export function stateClass(alert) {
  if (alert.state === 'unknown') return 2;
  if (alert.state === 'active_ack') return alert.priority === 'low' ? 4 : 3;
  if (!UNACKNOWLEDGED.includes(alert.state)) return 5;
  return { high: 0, medium: 1 }[alert.priority] ?? 4;
}

/** By class; inside it what still holds before what is over, then the oldest; the id is last. */
export function compareAlerts(a, b) {
  return stateClass(a) - stateClass(b)
    || Number(a.state === 'cleared_unack') - Number(b.state === 'cleared_unack')
    || Date.parse(a.started_at) - Date.parse(b.started_at)
    || compareText(a.id, b.id);
}

/** The order on screen while a pointer or the focus holds it: nothing moves, new ones go last. */
export function heldOrder(shown, sorted) {
  const held = new Set(shown);
  return [...shown, ...sorted.filter((id) => !held.has(id))];
}

/** The fixed place of a tile. */
export function compareDevices(a, b) {
  return compareText(a.site, b.site) || compareText(a.device, b.device);
}

function compareText(a, b) {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

const PRIORITIES = ['low', 'medium', 'high'];

/** The highest priority among a device's alerts, `none` without any. */
export function highestPriority(alerts) {
  const ranks = alerts.map((alert) => PRIORITIES.indexOf(alert.priority));
  return PRIORITIES[Math.max(-1, ...ranks)] ?? 'none';
}

const METRICS = [
  'pump_state', 'pump_drug', 'pump_rate', 'pump_rate_set', 'pump_vi', 'pump_vtbi',
  'pump_vtbi_rem', 'pump_time_rem', 'pump_dose_rate', 'pump_conc',
  'hr', 'pulse_oxim', 'pulse', 'spo2', 'rr', 'rr_imp', 'nibp', 'pulse_nibp', 'temp',
];
const LARGE = /^(hr|spo2|rr|rr_imp|nibp|temp.*|glu_.*|pump_rate|pump_state)$/;
const PRESSURES = ['nibp_sys', 'nibp_dia', 'nibp_mean'];

/**
 * The cells of a tile: one per series, the pressures of a cuff in one.
 * `kindOf(metric)` is the catalogue's kind.
 */
export function cellsOf(readings, kindOf) {
  const cells = new Map();
  for (const reading of readings) {
    if (['wave', 'event'].includes(kindOf(reading.metric))) continue;
    const metric = PRESSURES.includes(reading.metric) ? 'nibp' : reading.metric;
    const key = `${metric}|${reading.channel || ''}`;
    const cell = cells.get(key) || { key, metric, channel: reading.channel || '', parts: [] };
    cell.parts.push(reading);
    cells.set(key, cell);
  }
  const all = [...cells.values()];
  for (const cell of all) {
    cell.large = LARGE.test(cell.metric);
    if (cell.metric === 'nibp') cell.parts = oneInflation(cell.parts);
  }
  const rank = (metric) => (METRICS.includes(metric) ? METRICS.indexOf(metric) : METRICS.length);
  return all.sort((a, b) => rank(a.metric) - rank(b.metric) || compareText(a.key, b.key));
}

/** Systolic, diastolic and mean of the newest inflation; parts of two are never mixed. */
function oneInflation(parts) {
  const newest = parts.reduce((a, b) => (measuredMs(b) > measuredMs(a) ? b : a));
  const same = (part) => part.observed_time === newest.observed_time
    && part.seq === newest.seq && part.group === newest.group;
  return parts.filter(same)
    .sort((a, b) => PRESSURES.indexOf(a.metric) - PRESSURES.indexOf(b.metric));
}

/** A device clock that is ahead of the agent's by more than this is not believed. */
const AHEAD_MS = 60_000;

/** When it was measured: the device's time where that can be, else the agent's. */
export function measuredMs(reading) {
  const observed = Date.parse(reading.observed_time);
  const device = reading.device_time ? Date.parse(reading.device_time) : NaN;
  return device <= observed + AHEAD_MS ? device : observed;
}

/** Whether a reading replaces the one on screen. */
export function isNewer(reading, shown) {
  if (!shown) return true;
  if (reading.duplicate_of !== null && reading.duplicate_of !== undefined) return false;
  return measuredMs(reading) - measuredMs(shown) >= 0;
}
