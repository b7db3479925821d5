// A tile per device in a fixed place: values with unit and age, or why there is none.

import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import {
  ageText, noDataText, shortTime, shownValue, unitText, wordOf,
} from './format.js';
import { either, t } from './i18n.js';
import { GLYPHS } from './alerts.js';
import {
  cellsOf, compareAlerts, compareDevices, highestPriority, measuredMs,
} from './order.js';
import { isHidden, ruleOf, staleness, tileStaleness } from './stale.js';
import { deviceKey, kindOf, store } from './store.js';
import { Strip } from './strip.js';

export class Tiles {
  /** `onStrips()` is called when other strips are shown. */
  constructor(onStrips) {
    this.onStrips = onStrips;
    this.tiles = new Map();
    this.sites = new Map();
    this.heading = h('h2', { id: 'tiles-heading' });
    this.body = h('div', { class: 'sites' });
    this.empty = h('p', { class: 'empty' });
    this.element = h('section', { class: 'grid', 'aria-labelledby': 'tiles-heading' },
      this.heading, this.body, this.empty);
  }

  strips() {
    return [...this.tiles.values()].map((tile) => tile.strip).filter(Boolean);
  }

  draw() {
    const devices = [...store.devices.values()].sort(compareDevices);
    put(this.heading, t('tiles.heading', { n: devices.length }));
    put(this.empty, devices.length ? '' : t('tiles.none'));
    const before = this.strips().length;
    const names = [...new Set([...store.sites.keys(), ...devices.map((device) => device.site)])];
    arrange(this.body, names.sort().map((name) => this.site(name, devices)));
    for (const key of this.tiles.keys()) if (!store.devices.has(key)) this.tiles.delete(key);
    if (this.strips().length !== before) this.onStrips();
  }

  site(name, devices) {
    let site = this.sites.get(name);
    if (!site) {
      const heading = h('h3');
      const state = h('span', { class: 'site-state' });
      const tiles = h('div', { class: 'tiles' });
      const head = h('div', { class: 'site-head' }, heading, state);
      site = { heading, state, tiles, element: h('section', { class: 'site' }, head, tiles) };
      this.sites.set(name, site);
    }
    const facts = store.sites.get(name);
    const own = devices.filter((device) => device.site === name);
    put(site.heading, (facts && facts.clinic) || own[0]?.clinic || name);
    set(site.element, 'data-site', name);
    set(site.element, 'data-online', facts ? String(Boolean(facts.online)) : null);
    put(site.state, facts ? siteText(facts) : '');
    arrange(site.tiles, own.map((device) => this.tile(device).element));
    return site.element;
  }

  tile(device) {
    let tile = this.tiles.get(deviceKey(device));
    if (!tile) {
      tile = new Tile(device, this.onStrips);
      this.tiles.set(deviceKey(device), tile);
    }
    tile.draw(device);
    return tile;
  }
}

function siteText(site) {
  if (!site.online) {
    const at = site.last_seen ? shortTime(Date.parse(site.last_seen), clock.serverNow()) : '';
    return at ? t('site.offline', { at }) : t('site.never');
  }
  const backlog = site.backlog || {};
  const waiting = ['urgent', 'trend', 'wave'].map((lane) => Number(backlog[lane] || 0));
  const sum = waiting.reduce((a, b) => a + b, 0);
  return sum ? t('site.behind', { n: sum }) : t('site.online');
}

class Tile {
  constructor(device, onStrips) {
    this.cells = new Map();
    const span = (name) => h('span', { class: name });
    [this.kind, this.id, this.state] = ['kind', 'device', 'device-state'].map(span);
    this.alert = h('p', { class: 'tile-alert' });
    this.who = h('p', { class: 'who' });
    this.why = h('p', { class: 'why' });
    this.grid = h('div', { class: 'cells' });
    this.element = h('article', { class: 'tile' },
      h('header', {}, this.kind, this.id, this.state), this.who, this.alert, this.why, this.grid);
    this.strip = device.kind === 'monitor' ? new Strip(device, onStrips) : null;
    if (this.strip) this.element.append(this.strip.element);
  }

  draw(device) {
    const alerts = [...store.alerts.values()]
      .filter((alert) => alert.site === device.site && alert.device === device.device)
      .sort(compareAlerts);
    const priority = highestPriority(alerts);
    const removed = device.state === 'removed';
    const readings = removed ? [] : [...device.series.values()];
    const drawn = cellsOf(readings, kindOf).map((cell) => this.cell(cell, device));
    arrange(this.grid, drawn.map((cell) => cell.element));
    const { stale, hatched } = tileStaleness(drawn.flatMap((cell) => cell.ages), device.state);
    for (const [name, value] of Object.entries({
      'data-device': device.device, 'data-site': device.site, 'data-kind': device.kind,
      'data-bed': '', 'data-priority': priority, 'data-stale': stale,
      'data-hatched': hatched ? 'true' : null, 'data-device-state': device.state,
    })) set(this.element, name, value);
    put(this.kind, wordOf('kind', device.kind, t));
    put(this.id, device.device);
    put(this.state, wordOf('device_state', device.state, t));
    put(this.who, t('patient.none'));
    const first = alerts.find((alert) => alert.priority === priority);
    set(this.alert, 'hidden', !first);
    if (first) {
      const more = alerts.length > 1 ? t('tiles.more_alerts', { n: alerts.length - 1 }) : '';
      const text = either(first.message_zh, first.message_en);
      put(this.alert, `${GLYPHS[priority]} ${t(`priority.${priority}`)} ${text} ${more}`.trim());
    }
    put(this.why, this.reason(device, readings));
    if (this.strip) {
      set(this.strip.element, 'hidden', removed);
      this.strip.device = device;
      this.strip.describe();
    }
  }

  /** Why there is nothing to see, where there is nothing. */
  reason(device, readings) {
    const site = store.sites.get(device.site);
    const words = [];
    if (site && !site.online) words.push(t('tiles.site_offline'));
    if (device.state !== 'online') {
      words.push(t(`tiles.why.${device.state}`), device.state_reason || '');
    } else if (!readings.length) words.push(t('tiles.why.nothing_yet'));
    return words.filter(Boolean).join(' · ');
  }

  cell(cell, device) {
    let drawn = this.cells.get(cell.key);
    if (!drawn) {
      drawn = new Cell();
      this.cells.set(cell.key, drawn);
    }
    drawn.draw(cell, device);
    return drawn;
  }
}

class Cell {
  constructor() {
    const span = (name) => h('span', { class: name });
    [this.label, this.numbers, this.unit] = ['label', 'numbers', 'unit'].map(span);
    [this.reason, this.mark, this.age] = ['reason', 'mark', 'age'].map(span);
    this.element = h('div', { class: 'cell' },
      this.label, h('span', { class: 'amount' }, this.numbers, this.unit),
      this.reason, this.mark, this.age);
    this.ages = [];
  }

  draw(cell, device) {
    const nowMs = clock.serverNow();
    const facts = store.catalogue.get(cell.metric);
    const name = facts ? either(facts.name_zh, facts.name_en) : cell.metric;
    put(this.label, cell.channel ? `${name} ${cell.channel.toUpperCase()}` : name);
    const shown = cell.parts.map((reading) => judged(reading, device, nowMs));
    this.ages = shown;
    const first = shown[0];
    // A reason instead of the number is a word, and words are smaller than numbers.
    const reason = shown.find((part) => part.reason)?.reason || '';
    const none = shown.every((part) => part.text === null);
    const reasonOnly = none && reason !== '' && !first.hidden;
    this.drawNumbers(shown, reasonOnly);
    set(this.element, 'data-reason-only', reasonOnly ? 'true' : null);
    put(this.unit, none ? '' : unitText(shown.find((part) => part.unit)?.unit, t));
    put(this.reason, reason);
    put(this.mark, marks(cell.parts, shown));
    put(this.age, ageLine(first, nowMs));
    set(this.element, 'data-cell', cell.metric);
    set(this.element, 'data-large', cell.large ? 'true' : null);
    set(this.element, 'data-cell-stale', first.stale);
    set(this.element, 'data-no-data', none ? 'true' : null);
    set(this.element, 'data-spot', first.rule === 'spot' ? 'true' : null);
    set(this.element, 'data-value', first.metric === 'pump_state' ? first.raw : null);
  }

  drawNumbers(shown, reasonInstead) {
    const wanted = [];
    shown.forEach((part, index) => {
      const number = this.numbers.children[index] || h('span');
      set(number, 'class', part.metric === 'nibp_mean' ? 'num mean' : 'num');
      set(number, 'data-metric', part.metric);
      set(number, 'data-age-s', Math.max(0, Math.floor(part.ageMs / 1000)));
      set(number, 'data-stale', part.stale);
      put(number, part.text === null ? (reasonInstead ? '' : '--') : part.text);
      wanted.push(number);
    });
    arrange(this.numbers, wanted);
  }
}

/** What of a reading may be on screen now. */
function judged(reading, device, nowMs) {
  const rule = ruleOf(kindOf(reading.metric), device.kind);
  const at = rule === 'spot' ? measuredMs(reading) : Date.parse(reading.observed_time);
  const ageMs = Math.max(0, nowMs - at);
  const timeUnknown = reading.context?.time === 'unknown';
  const fresh = staleness(rule, ageMs);
  const part = {
    metric: reading.metric, rule, at, ageMs, timeUnknown, unit: '', text: null, reason: '',
    stale: timeUnknown && fresh === 'fresh' ? 'ageing' : fresh, hidden: isHidden(rule, ageMs),
  };
  if (reading.no_data) part.reason = noDataText(reading.no_data, t);
  else if (part.hidden) part.reason = '';
  else if (reading.validity === 'invalid') part.reason = t('validity.invalid');
  else {
    const { text, unit } = shownValue(reading);
    const kind = kindOf(reading.metric);
    part.raw = text;
    part.text = kind === 'state' ? wordOf(`value.${reading.metric}`, text, t) : text;
    part.unit = unit;
  }
  return part;
}

/** Doubts and circumstances of a value that is shown. */
function marks(readings, shown) {
  const words = [];
  const visible = readings.filter((_, index) => shown[index].text !== null);
  for (const doubt of ['questionable', 'calibrating']) {
    if (visible.some((reading) => reading.validity === doubt)) words.push(t(`validity.${doubt}`));
  }
  const context = visible[0]?.context || {};
  for (const [key, value] of Object.entries(context)) {
    if (value !== '0' && t.has(`context.${key}`)) words.push(t(`context.${key}`, { value: String(value) }));
  }
  return words.join(' · ');
}

function ageLine(part, nowMs) {
  if (part.timeUnknown) return t('age.unknown', { at: shortTime(part.at, nowMs) });
  const age = ageText(part.ageMs, t);
  if (part.rule === 'spot') return t('age.spot', { at: shortTime(part.at, nowMs), age });
  if (part.hidden) return t('age.hidden', { age });
  return part.stale === 'ageing' ? t('age.ageing', { age }) : t('age.fresh', { age });
}
