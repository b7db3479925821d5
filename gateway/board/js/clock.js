// The one place that knows the time: every age, timer and frame of the page comes from here.
//
// A test may set `window.__clinicClock` before the page loads:
// `{ now(), mono(), setTimeout(fn, ms), clearTimeout(id), requestAnimationFrame(fn) }`, all optional.
// The county's time is the page's time plus an offset that every message of the county corrects.

const hook = (typeof window !== 'undefined' && window.__clinicClock) || {};
/** Offsets of half a minute: the largest is the one whose message was the least delayed. */
const OFFSETS_MAX = 6;
/** The computer's clock jumped, or the computer slept. */
const JUMP_MS = 1_000;
/** `Date` of an answer is cut to whole seconds. */
const DATE_STEP_MS = 1_000;

/**
 * The page's time: begins at `wall()`, goes on with `mono()`, and never back. Where `wall` alone
 * leaps ahead the computer may have slept, and everything on screen is that much older.
 */
export function steadyClock(wall, mono) {
  let ahead = wall() - mono();
  let last = ahead;
  return () => {
    const at = mono();
    const apart = wall() - at;
    if (apart - last > JUMP_MS) ahead += apart - last;
    last = apart;
    return at + ahead;
  };
}

/**
 * How long it was from one moment to another, by three clocks of each: never less than the computer
 * was awake (`mono`). The page's time counts its sleep too, and a clock that was set ahead as if it
 * were one; the county's time does not, but may be set back itself. The less of the two is counted.
 */
export function elapsedMs(before, after) {
  const [awake, page, county] = ['mono', 'page', 'county'].map((name) => after[name] - before[name]);
  return Math.max(awake, Math.min(page, county));
}

/**
 * What the county's clock is ahead of the page's. A message that was under way for a time makes
 * the offset too small; an answer to a question bounds it, however slow the messages are.
 */
export class CountyOffset {
  constructor() {
    this.heardOffsets = [];
    this.bounds = null;
  }

  /** A message that names this time came at `nowMs` of the page. */
  heard(serverMs, nowMs) {
    if (Number.isNaN(serverMs)) return;
    this.heardOffsets = [...this.heardOffsets, serverMs - nowMs].slice(-OFFSETS_MAX);
  }

  /** A question was asked at `askedMs` and answered at `gotMs`; the answer names this second. */
  answered(serverMs, askedMs, gotMs) {
    if (Number.isNaN(serverMs)) return;
    this.bounds = { low: serverMs - gotMs, high: serverMs + DATE_STEP_MS - askedMs };
    this.heardOffsets = this.heardOffsets.filter((offset) => offset <= this.bounds.high);
  }

  ms() {
    if (!this.heardOffsets.length) return this.bounds ? this.bounds.low : 0;
    const heard = Math.max(...this.heardOffsets);
    if (!this.bounds) return heard;
    return Math.min(this.bounds.high, Math.max(this.bounds.low, heard));
  }
}

const county = new CountyOffset();
const wall = () => (hook.now ? hook.now() : Date.now());
const mono = () => (hook.now ? (hook.mono || hook.now)() : performance.now());
const steady = steadyClock(wall, mono);

/** Milliseconds of the page's own clock: never goes back. */
export function now() {
  return steady();
}

/** Milliseconds of the computer's clock, beside which audio has its own: no test has it in hand. */
export function audioNow() {
  return performance.now();
}

/** Milliseconds of the county's clock; the page's own until the county has spoken. */
export function serverNow() {
  return now() + county.ms();
}

/** This moment, for `sinceMs`. */
export function moment() {
  return { mono: mono(), page: now(), county: serverNow() };
}

/** How long that moment is ago, whatever became of the computer's clock. */
export function sinceMs(before) {
  return elapsedMs(before, moment());
}

/** What the county's clock is ahead of the computer's, in milliseconds. */
export function offset() {
  return serverNow() - wall();
}

/** Takes the time a message of the county names; how long it was under way. */
export function heardServerTime(rfc3339) {
  const server = Date.parse(rfc3339);
  county.heard(server, now());
  return Number.isNaN(server) ? 0 : Math.max(0, serverNow() - server);
}

/** Takes the `Date` of an answer to a question that was asked at `askedMs`. */
export function heardAnswer(date, askedMs) {
  county.answered(Date.parse(date), askedMs, now());
}

/** Calls `run` once after `ms`; the result goes to `cancel`. */
export function after(ms, run) {
  return hook.setTimeout ? hook.setTimeout(run, ms) : setTimeout(run, ms);
}

export function cancel(handle) {
  if (hook.clearTimeout) hook.clearTimeout(handle);
  else clearTimeout(handle);
}

/** Calls `run` before the next repaint. */
export function frame(run) {
  if (hook.requestAnimationFrame) hook.requestAnimationFrame(run);
  else requestAnimationFrame(run);
}

/** Pieces of drawing that wait for a frame of their own, the newest of each name. */
const turns = new Map();

/**
 * Calls `run` before a repaint, and no other piece before the same: two in one frame make it late.
 * It takes the place of the one of that name that waits. Where nobody looks it is done at once: a tab
 * that is hidden has no frames.
 */
export function turn(name, run) {
  const first = turns.size === 0;
  turns.set(name, run);
  if (document.hidden) takeTurns();
  else if (first) frame(nextTurn);
}

function takeTurns() {
  while (turns.size) takeTurn();
}

function takeTurn() {
  const [name, run] = turns.entries().next().value;
  turns.delete(name);
  run();
}

function nextTurn() {
  if (turns.size === 0) return;
  if (turns.size > 1) frame(nextTurn);
  takeTurn();
}
