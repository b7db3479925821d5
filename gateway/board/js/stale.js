// How old a value or the link may be before the page says so (nurse board, chapter 7). Pure.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Upper ends of "fresh" and "ageing" in milliseconds, by rule. */
export const LIMITS = {
  stream: [5 * SECOND, 15 * SECOND],
  pump: [30 * SECOND, 90 * SECOND],
  spot: [30 * MINUTE, 4 * HOUR],
};
/** A tile of stream numbers is hatched after this; one of a pump when its numbers are stale. */
const TILE_HATCHED_MS = 60 * SECOND;
export const LINK_SLOW_MS = 10 * SECOND;
export const LINK_LOST_MS = 20 * SECOND;
export const CLOCKS_APART_MS = 5 * SECOND;

/**
 * How old what was measured at `atMs` is; never younger than the page has known it (`knownMs`): a clock
 * that is set back makes nothing fresh.
 */
export function ageOf(atMs, nowMs, knownMs = 0) {
  return Math.max(0, knownMs, nowMs - atMs);
}

/** Whether it lies further ahead than clocks may be apart: nobody knows how old it is. */
export function isAhead(atMs, nowMs) {
  return atMs - nowMs > CLOCKS_APART_MS;
}

/** Kinds of devices that are there when they are used, and say nothing in between. */
const VISITORS = new Set(['cuff', 'glucose_meter', 'thermometer', 'scale']);

/** The rule for a metric of that kind (`stream`, `spot`, `state`) on a device of that kind. */
export function ruleOf(metricKind, deviceKind) {
  if (deviceKind === 'pump') return 'pump';
  // What a cuff or meter says between its measurements comes when it is read out, not every second.
  if (metricKind === 'spot' || VISITORS.has(deviceKind)) return 'spot';
  return 'stream';
}

/** A word that comes each second is not missed before this, beyond that second. */
const LATE_MS = 4 * SECOND;
/** So many of a device's intervals without a word are silence (alert rules, chapter 5). */
const SILENT_INTERVALS = 3;

/**
 * Upper ends of "fresh" and "ageing". A device whose box knows that it speaks more seldom is fresh
 * until its next word is overdue, and stale when the rules call it silent.
 */
function limitsOf(rule, intervalMs) {
  const [fresh, ageing] = LIMITS[rule];
  if (!intervalMs || rule === 'spot') return [fresh, ageing];
  return [Math.max(fresh, intervalMs + LATE_MS), Math.max(ageing, intervalMs * SILENT_INTERVALS)];
}

/** `fresh`, `ageing` or `stale`; `intervalMs`: how often the device speaks, where its box says it. */
export function staleness(rule, ageMs, intervalMs = null) {
  const [fresh, ageing] = limitsOf(rule, intervalMs);
  if (ageMs <= fresh) return 'fresh';
  return ageMs <= ageing ? 'ageing' : 'stale';
}

/** Whether the number gives way to `--`: a value that was measured once stays, with its time. */
export function isHidden(rule, ageMs, intervalMs = null) {
  return rule !== 'spot' && staleness(rule, ageMs, intervalMs) === 'stale';
}

/** In how long a number becomes another (ageing, stale, hatched) if none follows it. */
export function untilLimitMs({ rule, ageMs, intervalMs = null }) {
  const own = limitsOf(rule, intervalMs);
  return untilFirst(rule === 'stream' ? [...own, Math.max(TILE_HATCHED_MS, own[1])] : own, ageMs);
}

/** In how long the link becomes worse if nothing is heard. */
export function untilLinkMs(silentMs) {
  return untilFirst([LINK_SLOW_MS, LINK_LOST_MS], silentMs);
}

/** At a limit it is as before: it changes a moment later. */
function untilFirst(limits, ms) {
  return Math.min(...limits.filter((limit) => limit >= ms).map((limit) => limit - ms + 1));
}

/** A tile's staleness and whether it is hatched: by the youngest of the numbers that repeat. */
export function tileStaleness(numbers, deviceState) {
  // A cuff whose port is back is as good as before: it speaks only when it is used.
  const gone = deviceState !== 'online' && deviceState !== 'waiting';
  const repeating = numbers.filter((number) => number.rule !== 'spot');
  if (!repeating.length) return { stale: gone ? 'stale' : 'fresh', hatched: gone };
  const youngest = repeating.reduce((a, b) => (b.ageMs < a.ageMs ? b : a));
  const { rule, ageMs, intervalMs = null } = youngest;
  const [, silent] = limitsOf(rule, intervalMs);
  const limit = rule === 'pump' ? silent : Math.max(TILE_HATCHED_MS, silent);
  return { stale: staleness(rule, ageMs, intervalMs), hatched: ageMs > limit };
}

/** `live`, `slow` or `lost`, by the age of the last message. */
export function linkState(silentMs) {
  if (silentMs > LINK_LOST_MS) return 'lost';
  return silentMs > LINK_SLOW_MS ? 'slow' : 'live';
}

const LINKS = ['live', 'slow', 'lost'];

/** The worse of two link states. */
export function worstLink(a, b) {
  return LINKS[Math.max(LINKS.indexOf(a), LINKS.indexOf(b))];
}
