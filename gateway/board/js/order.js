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

const PRIORITIES = ['low', 'medium', 'high'];
const HOLDING = ['active_unack', 'active_ack'];

/** Of a device's alerts the one its tile names: one that holds, then one nobody knows of. */
export function tileAlert(alerts) {
  const classOf = ({ state }) => (HOLDING.includes(state) ? 0 : Number(state !== 'unknown') + 1);
  const rank = ({ priority }) => PRIORITIES.indexOf(priority);
  return [...alerts].sort((a, b) => classOf(a) - classOf(b) || rank(b) - rank(a)
    || compareAlerts(a, b))[0];
}

/**
 * The reading an alert speaks of: the newest of its metric. With several channels the one whose
 * number it names; nobody knows which of two others it is.
 */
export function seriesOf(series, alert) {
  const own = [...series.values()].filter((reading) => reading.metric === alert.metric);
  if (own.length <= 1) return own[0];
  return own.find((reading) => (reading.canonical_value ?? reading.value) === alert.value);
}

/** The fixed place of a tile. */
export function compareDevices(a, b) {
  return compareText(a.site, b.site) || compareText(a.device, b.device);
}

/** Whether a device only carries others, which are named after it: a pump station, a meter's cable. */
export function isStation(device, devices) {
  return devices.some((other) => other.site === device.site && other.kind === device.kind
    && other.device.startsWith(`${device.device}-`));
}

function compareText(a, b) {
  if (a === b) return 0;
  return a < b ? -1 : 1;
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
 * `kindOf(metric)` is the catalogue's kind, `clock` the device's.
 */
export function cellsOf(readings, kindOf, clock) {
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
    if (cell.metric === 'nibp') cell.parts = oneInflation(cell.parts, clock);
  }
  const rank = (metric) => (METRICS.includes(metric) ? METRICS.indexOf(metric) : METRICS.length);
  return all.sort((a, b) => rank(a.metric) - rank(b.metric) || compareText(a.key, b.key));
}

/** Systolic, diastolic and mean of the newest inflation; parts of two are never mixed. */
function oneInflation(parts) {
  const newest = parts.reduce((a, b) => (heardMs(b) > heardMs(a) ? b : a));
  const same = (part) => part.observed_time === newest.observed_time
    && part.seq === newest.seq && part.group === newest.group;
  return parts.filter(same)
    .sort((a, b) => PRESSURES.indexOf(a.metric) - PRESSURES.indexOf(b.metric));
}

/** A clock that is ahead by more than this is not believed. */
const AHEAD_MS = 60_000;
/** Nor is one that was reset: a meter's memory holds about a year. */
const BEHIND_MS = 400 * 86_400_000;
/** An edge box whose clock is ahead of the county's by more than this is not believed. */
const BOX_AHEAD_MS = 2_000;
/** A device without a memory speaks at most this long after it measured. */
const AT_ONCE_MS = 10 * 60_000;
/** What one reading-out of a memory brings comes within this time. */
const READOUT_MS = 10 * 60_000;

/** When the agent heard it: its clock, but never later than the county had it. */
export function heardMs(reading) {
  const observed = Date.parse(reading.observed_time);
  const received = Date.parse(reading.received_time);
  return received < observed ? received : observed;
}

/** Whether the edge box stamped it later than the county had it. */
export function isAhead(reading) {
  return Date.parse(reading.observed_time) - heardMs(reading) > BOX_AHEAD_MS;
}

/**
 * What is known of a device's clock: how far it is `ahead` (`null`: nobody knows), and whether the
 * device speaks `atOnce`, having no memory to be read out.
 */
export function clockOf(device) {
  const series = [...device.series.values()];
  const told = series.find((reading) => reading.metric === 'clock_offset');
  const seconds = Number(told?.canonical_value ?? told?.value ?? NaN);
  return {
    ahead: Number.isNaN(seconds) ? null : seconds * 1000,
    atOnce: device.kind === 'cuff' && !told,
  };
}

/**
 * When something was measured once, and whether that is in doubt: `{ms, suspect}`. The device's
 * time where that can be, less what its clock is ahead; else when the agent heard it.
 */
export function measured(reading, clock) {
  const heard = heardMs(reading);
  if (!reading.device_time) return { ms: heard, suspect: isAhead(reading) };
  const ms = deviceMs(reading, clock);
  const behind = clock.atOnce ? AT_ONCE_MS : BEHIND_MS;
  if (ms > heard + AHEAD_MS || ms < heard - behind) return { ms: heard, suspect: true };
  const wrong = Math.abs(clock.ahead ?? 0) > AHEAD_MS;
  return { ms: Math.min(ms, heard), suspect: wrong || isAhead(reading) };
}

/** The device's time, corrected; one that was stored before the clock went wrong as it is. */
function deviceMs(reading, clock) {
  const device = Date.parse(reading.device_time);
  const corrected = device - (clock.ahead ?? 0);
  return corrected > heardMs(reading) + AHEAD_MS ? device : corrected;
}

/** Whether a reading replaces the one on screen. `clock` only for what is measured once. */
export function isNewer(reading, shown, clock = null) {
  if (!shown) return true;
  if (reading.duplicate_of !== null && reading.duplicate_of !== undefined) return false;
  if (!clock || !reading.device_time || !shown.device_time) return isHeardLater(reading, shown);
  const oneReadout = Math.abs(heardMs(reading) - heardMs(shown)) <= READOUT_MS;
  if (oneReadout && !clock.atOnce) return deviceMs(reading, clock) >= deviceMs(shown, clock);
  return measured(reading, clock).ms >= measured(shown, clock).ms;
}

/** Of one outbox in the order in which the agent heard them, whatever its clock did. */
function isHeardLater(reading, shown) {
  if (reading.outbox && reading.outbox === shown.outbox && reading.lane === shown.lane) {
    return (reading.seq - shown.seq || reading.index - shown.index || 0) >= 0;
  }
  return heardMs(reading) >= heardMs(shown);
}
