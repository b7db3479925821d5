// The bed grid: a tile per patient, bed, or device on nobody, in fixed places by township and bed.

import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { shortTime } from './format.js';
import { t } from './i18n.js';
import { compareNames, inTurn, placesOf } from './beds.js';
import { isShown } from './filter.js';
import {
  deviceKey, isOfOther, store, waitingAt,
} from './store.js';
import { StripChoice } from './strip-choice.js';
import { Tile, hasStrip } from './tile.js';

/** Tiles are drawn for so long at a time: alerts and strips must not wait for the others. */
const SLICE_MS = 4;
/**
 * A tile that was drawn since says how old its numbers are, to the second. Less than a tick by far:
 * one that was drawn between two ticks would wait for the one after the next.
 */
const AGE_MS = 500;
/** From one tick to the next. */
const LIMITS_MS = 1_000;
/** Numbers of many devices grow old one after the other: the sound and the list must not wait for them. */
const LIMITS_APART_MS = 50;
/** Nobody sees those of a clinic out of sight: they are right when it comes into sight. */
const UNSEEN_MS = 2_900;

export class Tiles {
  /**
   * `knowledge()`: whether the tiles are the present; `isLost()`: the link is lost;
   * `onStrips()`: other strips are shown; `onFault(error)`: a tile could not be drawn;
   * `onOpen(key)`: a place is to be opened; `onLimit()`: numbers of changed devices are too old for
   * what they are called.
   */
  constructor(options) {
    Object.assign(this, options);
    this.tiles = new Map();
    this.clinics = new Map();
    /** Those of every township, and those that are shown. */
    this.all = [];
    this.places = [];
    this.byDevice = new Map();
    this.patients = new Set();
    this.waiting = [];
    this.limit = null;
    /** Until when limits were looked at. */
    this.limitsMs = 0;
    /** Which monitors have their strip here; the others have it in the drawer. */
    this.choice = new StripChoice();
    this.observer = new IntersectionObserver((entries) => this.look(entries));
    this.heading = h('h2', { id: 'tiles-heading' });
    this.body = h('div', { class: 'sites' });
    this.empty = h('p', { class: 'empty' });
    this.element = h('section', { class: 'grid', tabindex: '-1', 'aria-labelledby': 'tiles-heading' },
      this.heading, this.body, this.empty);
  }

  /** The board is left. */
  leave() {
    for (const tile of this.tiles.values()) tile.leave();
    this.tiles.clear();
    clock.cancel(this.limit);
    this.observer.disconnect();
  }

  strips() {
    return [...this.tiles.values()].flatMap((tile) => tile.strips());
  }

  /** The strip of a device, where one is shown. */
  stripOf(key) {
    for (const tile of this.tiles.values()) {
      const line = tile.lines.get(key);
      if (line) return line.strip;
    }
    return null;
  }

  placeOf(key) {
    return this.all.find((place) => place.key === key);
  }

  /** The place of a device. */
  placeOfDevice(key) {
    return this.all.find((place) => place.devices.some((one) => deviceKey(one) === key));
  }

  /** All tiles; `only`: those of devices and patients of whom something changed. */
  draw(only = null) {
    if (!only) this.arrange();
    this.drawInTurn(only
      ? this.places.filter((place) => this.isSeen(place)
        && (only.has(place.patient) || place.devices.some((one) => only.has(deviceKey(one)))))
      : this.places);
  }

  /** Once a second: what has become older since it was drawn. */
  age() {
    this.arrange();
    const nowMs = clock.now();
    this.drawInTurn(this.places.filter((place) => {
      const drawnMs = this.tiles.get(place.key)?.drawnMs ?? 0;
      return nowMs - drawnMs > (this.isSeen(place) ? AGE_MS : UNSEEN_MS);
    }));
  }

  /**
   * A number is called another (ageing, stale) at its limit and not with the next tick: until then
   * a timer goes to the first limit that comes.
   */
  watchLimits() {
    clock.cancel(this.limit);
    const nowMs = clock.now();
    const seen = this.places.filter((place) => this.isSeen(place))
      .flatMap(({ key }) => this.tiles.get(key) ?? []);
    // What passed its limit while others were drawn is due too.
    const dues = seen.flatMap((tile) => [...tile.lines].map(([key, line]) => [key, tile.drawnMs + line.untilMs]))
      .filter(([, dueMs]) => dueMs > this.limitsMs);
    const next = Math.min(...dues.map(([, dueMs]) => dueMs));
    if (next - nowMs > LIMITS_MS) return;
    const apart = this.limitsMs + LIMITS_APART_MS;
    this.limit = clock.after(Math.max(next, apart) - nowMs, () => {
      this.limitsMs = Math.max(next, clock.now());
      for (const [key, dueMs] of dues) if (dueMs <= this.limitsMs) store.changed.add(key);
      this.onLimit();
      this.watchLimits();
    });
  }

  /** Clinics come into sight or leave it. */
  look(entries) {
    const came = new Set();
    for (const { target, isIntersecting } of entries) {
      const [name, clinic] = [...this.clinics].find(([, { element }]) => element === target) || [];
      if (clinic) clinic.isSeen = isIntersecting;
      if (isIntersecting) came.add(name);
    }
    this.drawInTurn(this.places.filter(({ clinic }) => came.has(clinic)));
  }

  isSeen({ clinic }) {
    return this.clinics.get(clinic)?.isSeen !== false;
  }

  drawInTurn(wanted) {
    this.waiting = inTurn(this.waiting, wanted, this.places);
    if (!this.going) this.drawSlice();
  }

  /** Draws for a moment, and goes on after what else is to be done. */
  drawSlice() {
    const began = clock.now();
    const alerts = this.alertsByPlace();
    let others = false;
    while (this.waiting.length && clock.now() - began < SLICE_MS) {
      const place = this.waiting.shift();
      const tile = this.tiles.get(place.key);
      const own = alerts.get(place.key) || [];
      if (tile && tile.draw(place, own, this.isLost(), this.choice)) others = true;
      if (tile?.isNew) {
        others = others || tile.strips().length > 0;
        tile.isNew = false;
      }
    }
    if (others) this.onStrips();
    if (!this.waiting.length) return;
    this.going = true;
    clock.turn('tiles', () => {
      this.going = false;
      this.drawSlice();
    });
  }

  /** Which tiles there are and where. */
  arrange() {
    this.all = placesOf({
      devices: [...store.devices.values()],
      patients: [...store.patients.values()],
      bindings: [...store.bindings.values()],
      beds: store.beds,
    });
    this.places = this.all.filter(isShown);
    this.byDevice = new Map(this.places.flatMap((place) => (
      place.devices.map((device) => [deviceKey(device), place]))));
    this.patients = new Set(this.places.map((place) => place.patient));
    this.choice.of(this.places.flatMap((place) => place.devices.filter(hasStrip).map(deviceKey)));
    const knowledge = this.knowledge();
    put(this.heading, this.headingText(knowledge));
    put(this.empty, this.places.length ? '' : t(`tiles.none.${knowledge}`));
    const sites = [...store.sites.values()].filter(isShown);
    const clinics = [...new Set([
      ...sites.map((site) => site.clinic || site.site),
      ...this.places.map((place) => place.clinic),
    ])].sort(compareNames);
    arrange(this.body, clinics.map((name) => this.clinic(name)));
    for (const [name, { element }] of this.clinics) {
      if (clinics.includes(name)) continue;
      this.clinics.delete(name);
      this.observer.unobserve(element);
    }
    const keys = new Set(this.places.map((place) => place.key));
    for (const [key, tile] of this.tiles) {
      if (keys.has(key)) continue;
      this.tiles.delete(key);
      tile.leave();
      if (tile.strips().length) this.onStrips();
    }
  }

  headingText(knowledge) {
    if (knowledge !== 'known' && !this.places.length) return t('tiles.heading_unknown');
    const beds = this.places.filter((place) => place.kind !== 'device').length;
    const devices = new Set(this.places.flatMap((place) => place.devices.map(deviceKey)));
    const ruleless = this.ruleless();
    return [
      t('tiles.heading', { beds, n: devices.size }),
      ...(ruleless ? [t('tiles.ruleless', { n: ruleless })] : []),
    ].join(' · ');
  }

  /** How many devices have values and none on which there is a rule. */
  ruleless() {
    const lines = [...this.tiles.values()].flatMap((tile) => [...tile.lines.values()]);
    return lines.filter((line) => line.isRuleless).length;
  }

  /** A strip is shown in the grid, or no more. */
  toggleStrip(key) {
    this.choice.toggle(key);
    this.draw();
  }

  clinic(name) {
    let clinic = this.clinics.get(name);
    if (!clinic) {
      const heading = h('h3');
      const states = h('span', { class: 'site-states' });
      const tiles = h('div', { class: 'tiles' });
      const head = h('div', { class: 'site-head' }, heading, states);
      clinic = {
        heading, states, tiles, element: h('section', { class: 'site' }, head, tiles), isSeen: true,
      };
      this.clinics.set(name, clinic);
      this.observer.observe(clinic.element);
    }
    const sites = [...store.sites.values()].filter((site) => (site.clinic || site.site) === name);
    put(clinic.heading, name);
    set(clinic.element, 'data-site', sites.length === 1 ? sites[0].site : null);
    set(clinic.element, 'data-online', sites.length
      ? String(sites.every((site) => site.online)) : null);
    set(clinic.element, 'data-broker', store.brokerUp ? null : 'down');
    arrange(clinic.states, sites.map((site, index) => {
      const element = clinic.states.children[index] || h('span', { class: 'site-state' });
      const words = siteText(site, this.isLost());
      set(element, 'data-online', String(site.online));
      put(element, sites.length > 1 ? `${site.site}: ${words}` : words);
      return element;
    }));
    const own = this.places.filter((place) => place.clinic === name);
    arrange(clinic.tiles, own.map((place) => this.tile(place.key).element));
    return clinic.element;
  }

  /** Open alerts by the place of their patient or device. */
  alertsByPlace() {
    const found = new Map();
    for (const alert of store.alerts.values()) {
      const own = alert.patient && this.patients.has(alert.patient);
      const place = this.byDevice.get(deviceKey(alert));
      const key = own ? alert.patient : place?.key;
      // It stands in the list only: under another's name it would be untrue.
      if (!key || (!own && isOfOther(alert, place.patient))) continue;
      if (!found.has(key)) found.set(key, []);
      found.get(key).push(alert);
    }
    return found;
  }

  tile(key) {
    if (!this.tiles.has(key)) this.tiles.set(key, new Tile(key, this));
    return this.tiles.get(key);
  }
}

function siteText(site, lost) {
  if (lost) return t('site.unknown');
  if (!store.brokerUp) return t('site.broker_down');
  if (!site.online) {
    const at = site.last_seen ? shortTime(Date.parse(site.last_seen), clock.serverNow()) : '';
    return at ? t('site.offline', { at }) : t('site.never');
  }
  const waiting = waitingAt(site);
  return waiting ? t('site.behind', { n: waiting }) : t('site.online');
}
