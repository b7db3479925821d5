// The drawer: everything of one place. `#bed=key` in the address opens it, and no name is in that.

import * as api from './api.js';
import { Binder } from './binder.js';
import { Choosing, choiceIn } from './choosing.js';
import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { t } from './i18n.js';
import { DrawerAlerts, isOfPlace, stripDevice } from './drawer-alerts.js';
import { DrawerHead } from './drawer-head.js';
import { Limits } from './drawer-limits.js';
import { Entries } from './drawer-entries.js';
import { Results } from './drawer-results.js';
import { Trends } from './drawer-trends.js';
import { DeviceLine } from './device-line.js';
import { Health } from './drawer-health.js';
import { Mover } from './mover.js';
import { refusalText } from './refusal.js';
import { nobodysTrend, together } from './stays.js';
import { leadsOf } from './strip.js';
import { StripReview } from './strip-review.js';
import { deviceKey, store } from './store.js';
import { hasStrip } from './tile.js';

/** Trends of a day change slowly. */
const AGAIN_MS = 60_000;
const DAY_MS = 24 * 3_600_000;

export class Drawer {
  /**
   * `tiles`: the bed grid, which knows the places; `undo`: the bar; `isLost()`; `onStrips()`: other strips are
   * shown; `onFault(error)`; `onLoggedOut()`.
   */
  constructor(options) {
    Object.assign(this, options);
    this.key = null;
    this.whole = null;
    this.asked = 0;
    this.choosing = new Choosing();
    /** What was fetched and waits until nobody chooses here. */
    this.waiting = null;
    /** Counts what is fetched: an older answer never overwrites a newer one. */
    this.turn = 0;
    /** Whether the place is gone and the drawer empty. */
    this.gone = false;
    this.lines = new Map();
    this.closeWord = h('span');
    // Nobody has keys on a phone.
    this.closeKey = h('span', { class: 'keys' });
    this.close = h('button', { class: 'close', onclick: () => this.go(null) },
      this.closeWord, this.closeKey);
    this.problem = h('p', { class: 'problem', role: 'status' });
    this.devices = h('section', { class: 'drawer-devices' });
    const done = (change) => this.changed(change);
    this.head = new DrawerHead({
      isLost: this.isLost, onProblem: (failure) => this.failed(failure),
    });
    this.health = new Health({ isLost: this.isLost, onChange: done });
    this.trends = new Trends({ onAsk: () => this.refresh() });
    this.review = new StripReview({ onFault: this.onFault });
    this.alerts = new DrawerAlerts({ onStrip: (alert) => this.stripOf(alert) });
    this.results = new Results({ undo: this.undo, onChange: done });
    this.limits = new Limits({ onChange: done });
    this.entries = new Entries({ onChange: done });
    this.parts = [this.trends, this.results, this.alerts, this.limits, this.entries, this.health];
    this.above = [h('div', { class: 'drawer-top' }, this.head.element, this.close),
      this.problem, this.devices, this.review.element];
    // There from the beginning: an address may name a place that is gone.
    this.element = h('aside', { class: 'drawer', tabindex: '-1', hidden: true }, ...this.above);
    this.onHash = () => this.follow();
    window.addEventListener('hashchange', this.onHash);
  }

  /** The board is left: nothing stays on screen. */
  leave() {
    window.removeEventListener('hashchange', this.onHash);
    this.reset();
  }

  strips() {
    return [...this.lines.values()].map((line) => line.strip).filter(Boolean);
  }

  /** Opens a place, or closes with `null`: by the address, so that "back" works. */
  go(key, how = 'pushState') {
    const hash = key === null ? '' : `#bed=${encodeURIComponent(key)}`;
    if (hash === window.location.hash) return;
    if (key === null) window.history[how](null, '', window.location.pathname);
    else window.history[how](null, '', hash);
    this.follow();
  }

  /** Shows what the address says. */
  follow() {
    const match = /^#(bed|alert)=(.+)$/.exec(window.location.hash);
    let key = match ? decoded(match[2]) : null;
    if (key !== null && match[1] === 'alert') {
      const alert = store.alerts.get(key) || store.closed.get(key);
      const known = alert && this.tiles.placeOfDevice(deviceKey(alert));
      key = alert ? alert.patient || known?.key || null : null;
    }
    if (key === this.key) return;
    const before = this.key;
    this.reset();
    this.key = key;
    if (key !== null) {
      this.draw();
      this.refresh();
      this.element.focus();
    } else if (before) this.tiles.tiles.get(before)?.open.focus();
  }

  reset() {
    const had = this.strips().length > 0;
    this.key = null;
    this.empty();
    put(this.problem, '');
    set(this.element, 'hidden', true);
    set(document.body, 'data-drawer', null);
    if (had) this.onStrips();
  }

  /** Nothing of a place stays; nor does an answer that is under way come in. */
  empty() {
    this.turn += 1;
    this.waiting = null;
    this.whole = null;
    for (const line of this.lines.values()) line.leave();
    this.lines.clear();
    this.devices.replaceChildren();
    this.review.hide();
    for (const part of [this.head, ...this.parts]) part.clear();
    this.showParts(true);
  }

  showParts(wanted) {
    this.gone = !wanted;
    for (const { element } of [this.head, ...this.parts]) set(element, 'hidden', !wanted);
  }

  /** The place is gone: numbers that stand still would look as if they lived. */
  vanish() {
    put(this.problem, t('drawer.gone'));
    if (this.gone) return;
    const had = this.strips().length > 0;
    this.empty();
    this.showParts(false);
    if (had) this.onStrips();
  }

  /** `Esc`; whether there was something to close. */
  escape() {
    if (this.key === null) return false;
    if (this.review.hide()) return true;
    this.go(null);
    return true;
  }

  /** Fetches what is not in the stream of events; `waits`: nobody here asked for it. */
  async refresh({ waits = false } = {}) {
    const { key } = this;
    const place = key === null ? null : this.tiles.placeOf(key);
    if (!place || (!place.patient && !place.devices.length)) return;
    this.turn += 1;
    const { turn } = this;
    this.asked = clock.now();
    const since = new Date(clock.serverNow() - DAY_MS).toISOString();
    try {
      const [whole, trend, alerts] = await Promise.all([
        place.patient ? api.patient(place.patient) : null,
        trendOf(place, this.trends),
        alertsOf(place, since),
      ]);
      if (this.turn !== turn) return;
      const own = alerts.alerts.filter((alert) => isOfPlace(alert, place));
      const offers = alerts.offers.filter(({ patient }) => patient === place.patient);
      this.waiting = {
        whole, trend, alerts: own, offers, truncated: alerts.truncated,
      };
      put(this.problem, '');
      if (!waits) this.choosing.release();
      this.drawFetched();
    } catch (failure) {
      if (this.turn === turn) this.failed(failure);
    }
  }

  failed(failure) {
    if (failure.status === 401) this.onLoggedOut();
    else if (failure.status === undefined) this.onFault(failure);
    else if (failure.status) put(this.problem, refusalText(failure));
    // Of a link that is lost the banner speaks.
    else put(this.problem, this.isLost() ? '' : t('drawer.unread'));
  }

  /** Something was changed by the person: the county's word for it is fetched. */
  async changed(change) {
    try {
      await change();
      await this.refresh();
      return true;
    } catch (failure) {
      this.failed(failure);
      return false;
    }
  }

  /** Draws what was fetched, as soon as nobody chooses what would slide under their finger. */
  drawFetched() {
    const holds = this.choosing.holds(choiceIn(this.element), clock.now());
    if (!this.waiting || holds) return;
    const {
      whole, trend, alerts, offers, truncated,
    } = this.waiting;
    this.waiting = null;
    this.whole = whole;
    const place = this.tiles.placeOf(this.key);
    this.trends.show(trend, this.whole, alerts);
    this.results.show(trend.results, place, this.whole);
    this.alerts.show(alerts, truncated);
    this.limits.show(this.whole, offers, trend);
    this.entries.show(this.whole);
    this.draw();
  }

  /** Also once a second. `only`: devices and patients of whom something changed. */
  draw(only = null) {
    if (this.key === null) {
      if (window.location.hash && this.tiles.all.length) this.follow();
      return;
    }
    const place = this.tiles.placeOf(this.key);
    set(this.element, 'hidden', false);
    set(document.body, 'data-drawer', 'open');
    put(this.closeWord, t('drawer.close'));
    put(this.closeKey, t('drawer.close_key'));
    set(this.element, 'aria-label', t('drawer.label'));
    set(this.element, 'data-key', this.key);
    if (!place) {
      // Somebody said whose the device is.
      const home = this.tiles.placeOfDevice(this.key);
      if (home) this.go(home.key, 'replaceState');
      else this.vanish();
      return;
    }
    if (this.gone) {
      this.showParts(true);
      put(this.problem, '');
      this.refresh();
    }
    const isOf = (device) => only.has(deviceKey(device));
    if (only && !only.has(place.patient) && !place.devices.some(isOf)) return;
    if (!only && clock.now() - this.asked > AGAIN_MS) this.refresh({ waits: true });
    if (!only) this.drawFetched();
    this.head.draw(place, this.whole);
    this.drawDevices(place);
    arrange(this.element, [...this.above, ...this.parts.map((part) => part.element)]);
    for (const part of this.parts) part.draw(place);
  }

  drawDevices(place) {
    let others = false;
    const keys = place.devices.map(deviceKey);
    for (const [key, line] of this.lines) {
      if (keys.includes(key)) continue;
      others = others || Boolean(line.strip);
      line.leave();
      this.lines.delete(key);
    }
    arrange(this.devices, place.devices.map((device) => {
      const key = deviceKey(device);
      if (!this.lines.has(key)) {
        const line = new DeviceLine(device, this.onStrips, hasStrip(device), (find) => new Mover({
          undo: this.undo, find, run: (change) => this.changed(change),
        }));
        // Whose what repeats is goes by the device: this stands where a result says "not this patient's".
        line.binder = new Binder({ undo: this.undo, run: (change) => this.changed(change) });
        line.head.append(line.binder.button);
        line.head.after(line.binder.choice);
        if (line.strip) {
          line.strip.canFreeze((strip) => this.freeze(strip));
          const shown = this.tiles.stripOf(key);
          if (shown) line.strip.takeOver(shown);
          others = true;
        }
        this.lines.set(key, line);
      }
      const line = this.lines.get(key);
      const now = store.devices.get(key) || device;
      line.draw(now, this.isLost());
      line.binder.draw(now, place);
      return line.element;
    }));
    if (others) this.onStrips();
  }

  /** The strip as it is now, standing still. */
  freeze(strip) {
    this.review.showBlocks(strip.device, strip.metric, strip.blocks, this.tiles.placeOf(this.key));
  }

  /** The strip around an alert. */
  stripOf(alert) {
    const place = this.tiles.placeOf(this.key);
    const device = place && stripDevice(alert, place);
    if (!device) return;
    const leads = this.lines.get(deviceKey(device))?.strip?.leads ?? leadsOf(device);
    this.review.showAlert(device, leads, alert, place);
  }
}

/** What an address says; `null` where somebody cut it. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    return null;
  }
}

/** Of the patient, or of all devices of a place without one while they were on nobody. */
async function trendOf(place, trends) {
  if (place.patient) return api.trends(trends.asked({ patient: place.patient }));
  return together(await Promise.all(place.devices.map(async ({ site, device }) => {
    const [trend, { bindings }] = await Promise.all([
      api.trends(trends.asked({ site, device })), api.bindingsOf({ site, device }),
    ]);
    return nobodysTrend(trend, bindings);
  })));
}

/** What there was at the boxes of the clinic of a place. */
async function alertsOf(place, from) {
  const all = [...store.sites.values()];
  const sites = all.filter((site) => (site.clinic || site.site) === place.clinic);
  const told = await Promise.all(sites.map(({ site }) => api.alertsSince({ site, from })));
  return {
    alerts: told.flatMap(({ alerts }) => alerts),
    offers: told.flatMap(({ offers }) => offers),
    truncated: told.some(({ truncated }) => truncated),
  };
}
