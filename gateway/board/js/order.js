// What comes first: alerts, tiles, the numbers of a tile. Pure.

const UNACKNOWLEDGED = ['active_unack', 'cleared_unack'];

/** Alerts nobody has in hand. */
export function isUnacknowledged(alert) {
  return UNACKNOWLEDGED.includes(alert.state) || (alert.state === 'unknown' && !alert.acknowledged_by);
}

/** Unacknowledged high, unacknowledged medium, unknown, acknowledged, low. */
function stateClass(alert) {
  if (alert.state === 'unknown') return 2;
  if (alert.state === 'active_ack') return alert.priority === 'low' ? 4 : 3;
  if (!UNACKNOWLEDGED.includes(alert.state)) return 5;
  return { high: 0, medium: 1 }[alert.priority] ?? 4;
}

/** The parts of the list from the top. */
const SECTIONS = ['open', 'cleared', 'rest', 'late', 'shelved', 'aside'];

/** The part of the list in which an alert stands. */
export function sectionOf(alert) {
  if (alert.state === 'shelved') return 'shelved';
  if (alert.retro) return 'late';
  if (alert.state === 'cleared_unack') return 'cleared';
  const place = stateClass(alert);
  if (place === 5) return 'aside';
  return place <= 2 ? 'open' : 'rest';
}

/** By part and class; inside them the more urgent, then the oldest; the id is last. */
export function compareAlerts(a, b) {
  return SECTIONS.indexOf(sectionOf(a)) - SECTIONS.indexOf(sectionOf(b))
    || stateClass(a) - stateClass(b)
    || Date.parse(a.started_at) - Date.parse(b.started_at)
    || compareText(a.id, b.id);
}

/** An alert begins, or begins to be another. */
const BEGINS = ['recurred', 'priority_rose'];

/** Every time at which an alert began, began again or rose. */
export function beginningsOf({ raised_at: raised, timeline = [] }) {
  const again = timeline.filter(({ what }) => BEGINS.includes(what)).map(({ at }) => at);
  return [raised, ...again].map((at) => Date.parse(at));
}

/** When an alert began, began again or rose last. */
export function begunMs(alert) {
  return Math.max(...beginningsOf(alert));
}

/** Since when it holds: what came again does since then, and not since it was first there. */
export function holdsSinceMs({ started_at: started, timeline }) {
  const again = (timeline || []).filter(({ what }) => what === 'recurred').pop();
  return Date.parse(again ? again.at : started);
}

/** Of what began while nobody saw: the more urgent first, then the older. */
export function compareMissed(a, b) {
  return PRIORITIES.indexOf(b.priority) - PRIORITIES.indexOf(a.priority)
    || begunMs(a) - begunMs(b) || compareText(a.id, b.id);
}

/** The order on screen while a pointer or the focus holds it: nothing moves, new ones go last. */
export function heldOrder(shown, sorted, chosen = null) {
  const held = new Set(shown);
  const head = shown.findIndex((id) => id.startsWith('#'));
  // Below what is held, and above what is over: only what lies there must not move.
  const isAbove = head >= 0 && shown.indexOf(chosen) >= 0 && shown.indexOf(chosen) < head;
  const at = isAbove ? head : shown.length;
  return [...shown.slice(0, at), ...sorted.filter((id) => !held.has(id)), ...shown.slice(at)];
}

const PRIORITIES = ['low', 'medium', 'high'];
const HOLDING = ['active_unack', 'active_ack'];

/** Whether its condition holds, or may for all that anybody knows; also while it is on the shelf. */
export function holds({ state, condition }) {
  return [...HOLDING, 'unknown'].includes(state === 'shelved' ? condition : state);
}

/** Whether the first priority is above the second. */
export function isMoreUrgent(priority, than) {
  return PRIORITIES.indexOf(priority) > PRIORITIES.indexOf(than);
}

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

/** Whether a device only carries others, which are named after it: a pump station, a meter's cable. */
export function isStation(device, devices) {
  return devices.some((other) => other.site === device.site && other.kind === device.kind
    && other.device.startsWith(`${device.device}-`));
}

/** The station on which a pump stands, by its name; nothing where it stands alone. */
export function stationOf(device, devices) {
  return devices.find((other) => other !== device && device.kind === 'pump'
    && isStation(other, [device]));
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
  const newest = parts.reduce((a, b) => (isNewer(b, a, true) ? b : a));
  const same = (part) => part.placed_time === newest.placed_time
    && part.seq === newest.seq && part.group === newest.group;
  return parts.filter(same)
    .sort((a, b) => PRESSURES.indexOf(a.metric) - PRESSURES.indexOf(b.metric));
}

/** A meter's memory holds about a year: a clock that says more was reset. */
const MEMORY_MS = 400 * 86_400_000;
/** What one reading-out of a memory brings comes within this time. */
const READOUT_MS = 10 * 60_000;

/** When the agent heard it, by the county's clock. */
function heardMs(reading) {
  return Date.parse(reading.placed_time);
}

/** When it was measured, by the county's clock: what the county made of all clocks on the way. */
export function measuredMs(reading) {
  return Date.parse(reading.measured_time);
}

/** Whether a reading replaces the one on screen. `once`: it is measured once and may be remembered. */
export function isNewer(reading, shown, once = false) {
  if (!shown) return true;
  if (reading.duplicate_of !== null && reading.duplicate_of !== undefined) return false;
  if (!once) return isHeardLater(reading, shown);
  // The county's order of its latest numbers.
  const oneReadout = Math.abs(heardMs(reading) - heardMs(shown)) <= READOUT_MS;
  const moment = oneReadout ? measuredMs : placeMs;
  return moment(reading) >= moment(shown);
}

/** When it was measured, or heard where no device remembers that long. */
function placeMs(reading) {
  const [heard, measured] = [heardMs(reading), measuredMs(reading)];
  return heard - measured > MEMORY_MS ? heard : measured;
}

/** Of one outbox in the order in which the agent heard them, whatever its clock did. */
function isHeardLater(reading, shown) {
  if (reading.outbox && reading.outbox === shown.outbox && reading.lane === shown.lane) {
    return (reading.seq - shown.seq || reading.index - shown.index || 0) >= 0;
  }
  return heardMs(reading) >= heardMs(shown);
}
