// The one place that knows the time: every age, timer and frame of the page comes from here.
//
// A test may set `window.__clinicClock` before the page loads:
// `{ now(), setTimeout(fn, ms), clearTimeout(id), requestAnimationFrame(fn) }`, all optional.
// The county's time is the page's time plus an offset that every heartbeat corrects.

const hook = (typeof window !== 'undefined' && window.__clinicClock) || {};
/** Offsets of half a minute: the largest is the one whose message was the least delayed. */
const OFFSETS_MAX = 6;

let offsets = [];

/** Milliseconds of the page's own clock. */
export function now() {
  return hook.now ? hook.now() : Date.now();
}

/** Milliseconds of the county's clock; the page's own until the county has spoken. */
export function serverNow() {
  return now() + offset();
}

/** What the county's clock is ahead of the page's, in milliseconds. */
export function offset() {
  return offsets.length ? Math.max(...offsets) : 0;
}

/** Takes the time a message of the county names. */
export function heardServerTime(rfc3339) {
  const server = Date.parse(rfc3339);
  if (Number.isNaN(server)) return;
  offsets.push(server - now());
  offsets = offsets.slice(-OFFSETS_MAX);
}

/** Calls `run` once after `ms`; the result goes to `cancel`. */
export function after(ms, run) {
  return hook.setTimeout ? hook.setTimeout(run, ms) : setTimeout(run, ms);
}

export function cancel(handle) {
  if (hook.clearTimeout) hook.clearTimeout(handle);
  else clearTimeout(handle);
}

/** Calls `run` every `ms` for as long as the page is open. */
export function every(ms, run) {
  after(ms, () => {
    run();
    every(ms, run);
  });
}

/** Calls `run` before the next repaint. */
export function frame(run) {
  if (hook.requestAnimationFrame) hook.requestAnimationFrame(run);
  else requestAnimationFrame(run);
}
