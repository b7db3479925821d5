// A page that is open for weeks begins anew at a change of shifts, when nobody needs it: nothing
// waits for anybody, nobody is at it, and the county answers. Where the county has another program
// by now it does not wait for the shift, and for alerts only so long: those may be there for days.

import * as api from './api.js';
import * as clock from './clock.js';
import { isUnacknowledged } from './order.js';
import { store } from './store.js';
import { Touch } from './touch.js';

const HOUR_MS = 3_600_000;
const DAY_H = 24;
const WEEK_H = 168;
/** The week of the duty plan is the county's; 1970 began on a Thursday. */
const ZONE_H = 8;
const MONDAY_H = 72;
/** Where the plan names nobody: shifts begin at eight. */
const USUAL_H = [8, 20];
/** Nobody has touched it for so long. */
const ALONE_MS = 120_000;
/** The same where the page is of an old program: a wall is renewed within a minute. */
const OLD_ALONE_MS = 30_000;
/** A page of an old program waits so long for a moment in which no alert is unacknowledged. */
const QUIET_MS = 600_000;
const PLAN_MS = HOUR_MS;
/** No page begins anew sooner, whatever the clocks say. */
const YOUNG_MS = HOUR_MS;

/** The hours of the week in which somebody comes. */
export function changesOf(plans) {
  const first = plans.flatMap(({ shifts }) => shifts)
    .filter(({ level, from_hour: from, until_hour: until }) => (
      level === 'first' && until - from < WEEK_H));
  if (first.length) return [...new Set(first.map(({ from_hour: from }) => from))];
  return [0, 1, 2, 3, 4, 5, 6].flatMap((day) => USUAL_H.map((hour) => day * DAY_H + hour));
}

/** When somebody came last. */
export function lastChange(hours, nowMs) {
  const now = nowMs / HOUR_MS + ZONE_H + MONDAY_H;
  const ago = hours.map((hour) => (((now - hour) % WEEK_H) + WEEK_H) % WEEK_H);
  return nowMs - Math.min(...ago) * HOUR_MS;
}

export class Shift {
  /**
   * `isFree()`: nothing is in anybody's hands; `isOld()`: the page is of another program than the
   * county's, and may be renewed; `renew()` begins anew.
   */
  constructor({ isFree, isOld, renew }) {
    Object.assign(this, { isFree, isOld, renew });
    this.openedAt = clock.now();
    /** By the county's clock, as soon as that is known. */
    this.begun = null;
    /** Since when the county has another program, as far as the page knows. */
    this.oldSince = null;
    this.hours = changesOf([]);
    this.asked = null;
    this.touch = new Touch();
  }

  start() {
    this.touch.start();
  }

  close() {
    this.touch.close();
  }

  isDue() {
    const nowMs = clock.now();
    const aloneMs = this.touch.agoMs();
    const isQuiet = ![...store.alerts.values()].some(isUnacknowledged);
    if (this.isOld()) {
      this.oldSince = this.oldSince ?? nowMs;
      return aloneMs >= OLD_ALONE_MS && (isQuiet || nowMs - this.oldSince >= QUIET_MS) && this.isFree();
    }
    return nowMs - this.openedAt >= YOUNG_MS && aloneMs >= ALONE_MS
      && lastChange(this.hours, clock.serverNow()) > this.begun && isQuiet && this.isFree();
  }

  /** Once a second, while the present is known. */
  async watch() {
    if (this.begun === null) this.begun = clock.serverNow();
    if (this.asking) return;
    this.asking = true;
    await this.plan();
    // A page that cannot be fetched would leave nothing on the wall.
    if (this.isDue() && await api.isThere() && this.isDue()) this.renew();
    this.asking = false;
  }

  async plan() {
    if (this.asked !== null && clock.now() - this.asked < PLAN_MS) return;
    this.asked = clock.now();
    try {
      this.hours = changesOf((await api.ask('/duty')).plans);
    } catch (failure) {
      // The hours of before.
    }
  }
}
