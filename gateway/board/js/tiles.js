// A tile per device in a fixed place: values with unit and age, or why there is none.

import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import {
  ageText, shortTime, unitText, wordOf,
} from './format.js';
import { currentLanguage, either, t } from './i18n.js';
import { GLYPHS, message } from './alert-words.js';
import { isShown } from './filter.js';
import { ageLine, judged } from './judged.js';
import {
  cellsOf, compareDevices, isStation, tileAlert,
} from './order.js';
import { tileStaleness } from './stale.js';
import { deviceKey, kindOf, store } from './store.js';
import { Strip } from './strip.js';

export class Tiles {
  /**
   * `knowledge()`: whether the tiles are the present; `isLost()`: the link is lost;
   * `onStrips()`: other strips are shown; `onFault(error)`: a tile could not be drawn.
   */
  constructor({
    knowledge, isLost, onStrips, onFault,
  }) {
    Object.assign(this, {
      knowledge, isLost, onStrips, onFault,
    });
    this.tiles = new Map();
    this.sites = new Map();
    this.heading = h('h2', { id: 'tiles-heading' });
    this.body = h('div', { class: 'sites' });
    this.empty = h('p', { class: 'empty' });
    this.element = h('section', { class: 'grid', tabindex: '-1', 'aria-labelledby': 'tiles-heading' },
      this.heading, this.body, this.empty);
  }

  strips() {
    return [...this.tiles.values()].map((tile) => tile.strip).filter(Boolean);
  }

  draw() {
    const devices = [...store.devices.values()].filter(isShown).sort(compareDevices);
    const knowledge = this.knowledge();
    put(this.heading, knowledge === 'known' || devices.length
      ? t('tiles.heading', { n: devices.length }) : t('tiles.heading_unknown'));
    put(this.empty, devices.length ? '' : t(`tiles.none.${knowledge}`));
    const before = this.strips().length;
    const sites = [...store.sites.values()].filter(isShown);
    const names = [...new Set([...sites, ...devices].map((of) => of.site))];
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
    set(site.element, 'data-broker', store.brokerUp ? null : 'down');
    put(site.state, facts ? siteText(facts, this.isLost()) : '');
    arrange(site.tiles, own.map((device) => this.tile(device).element));
    return site.element;
  }

  tile(device) {
    let tile = this.tiles.get(deviceKey(device));
    if (!tile) {
      tile = new Tile(device, this.onStrips);
      this.tiles.set(deviceKey(device), tile);
    }
    try {
      tile.draw(device, this.isLost());
    } catch (error) {
      tile.blank();
      this.onFault(error);
    }
    return tile;
  }
}

function siteText(site, lost) {
  if (lost) return t('site.unknown');
  if (!store.brokerUp) return t('site.broker_down');
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
    [this.kind, this.id, this.slot, this.who, this.state] = [
      'kind', 'device', 'slot', 'who', 'device-state',
    ].map(span);
    this.alert = h('p', { class: 'tile-alert' });
    this.why = h('p', { class: 'why' });
    this.grid = h('div', { class: 'cells' });
    this.element = h('article', { class: 'tile' },
      h('header', {}, this.kind, this.id, this.slot, this.who, this.state),
      this.alert, this.why, this.grid);
    this.strip = device.kind === 'monitor' ? new Strip(device, onStrips) : null;
    if (this.strip) this.element.append(this.strip.element);
  }

  draw(device, lost) {
    const alerts = [...store.alerts.values()]
      .filter((alert) => alert.site === device.site && alert.device === device.device);
    const first = tileAlert(alerts);
    const removed = device.state === 'removed';
    // How a meter's clock stands is no number of a patient.
    const readings = removed ? []
      : [...device.series.values()].filter((reading) => reading.metric !== 'clock_offset');
    const drawn = cellsOf(readings, kindOf).map((cell) => this.cell(cell, device));
    arrange(this.grid, drawn.map((cell) => cell.element));
    const { stale, hatched } = tileStaleness(drawn.flatMap((cell) => cell.ages), device.state);
    for (const [name, value] of Object.entries({
      'data-device': device.device, 'data-site': device.site, 'data-kind': device.kind,
      'data-bed': '', 'data-priority': first?.priority ?? 'none', 'data-stale': stale,
      'data-hatched': hatched ? 'true' : null, 'data-device-state': device.state,
    })) set(this.element, name, value);
    put(this.kind, wordOf('kind', device.kind, t));
    const slot = readings.find((reading) => reading.context?.slot)?.context.slot;
    put(this.id, device.device);
    put(this.slot, slot ? t('context.slot', { value: slot }) : '');
    const site = store.sites.get(device.site);
    const cut = lost || !store.brokerUp || (site && !site.online);
    const state = wordOf('device_state', cut ? 'unknown' : device.state, t);
    set(this.element, 'data-cut', cut ? 'true' : null);
    put(this.state, [state, ageOfTile(drawn)].filter(Boolean).join(' · '));
    put(this.who, t('patient.none'));
    this.drawAlert(first, alerts.length - 1);
    const station = !readings.length && isStation(device, [...store.devices.values()]);
    set(this.element, 'data-station', station ? 'true' : null);
    put(this.why, this.reason(device, readings, station));
    if (this.strip) {
      set(this.strip.element, 'hidden', removed);
      this.strip.device = device;
      this.strip.describe();
    }
  }

  /** The alert that matters most, with its state: what is over must not look as if it held. */
  drawAlert(alert, others) {
    set(this.alert, 'hidden', !alert);
    set(this.element, 'data-alert-state', alert?.state);
    if (!alert) return;
    const glyph = alert.state === 'unknown' ? '?' : GLYPHS[alert.priority];
    put(this.alert, [
      `${glyph} ${t(`priority.${alert.priority}`)} ${message(alert)}`,
      wordOf('state', alert.state, t),
      ...(others > 0 ? [t('tiles.more_alerts', { n: others })] : []),
    ].join(' · '));
  }

  /** It could not be drawn: no number stays. */
  blank() {
    this.grid.replaceChildren();
    this.cells.clear();
    put(this.state, '');
    put(this.why, t('tiles.why.fault'));
    set(this.element, 'data-stale', 'stale');
    set(this.element, 'data-hatched', 'true');
  }

  /** Why there is nothing to see, where there is nothing. */
  reason(device, readings, station) {
    const site = store.sites.get(device.site);
    const words = [];
    if (site && !site.online) words.push(t('tiles.site_offline'));
    if (device.state !== 'online') {
      // The agent's own sentence is English: in Chinese there is what a nurse can do.
      const own = currentLanguage() === 'en' ? device.state_reason : '';
      words.push(t(`tiles.why.${device.state}`), own || t(`tiles.do.${device.state}`));
    } else if (station) words.push(t(device.kind === 'pump' ? 'tiles.why.station' : 'tiles.why.cable'));
    else if (!readings.length) words.push(t('tiles.why.nothing_yet'));
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
    // The head says how old the fresh ones are.
    put(this.age, isPlain(first) ? '' : ageLine(first, nowMs));
    set(this.element, 'data-suspect', first.suspect ? 'true' : null);
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

/** A number that repeats, is fresh and not in doubt. */
function isPlain(part) {
  return part.rule !== 'spot' && part.stale === 'fresh' && !part.suspect;
}

/** How old the oldest of the numbers is that need no age of their own. */
function ageOfTile(cells) {
  const ages = cells.flatMap((cell) => cell.ages).filter(isPlain).map((part) => part.ageMs);
  return ages.length ? t('age.fresh', { age: ageText(Math.max(...ages), t) }) : '';
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
    if (key === 'slot') continue; // It is in the tile's head, once.
    if (value === '0' || !t.has(`context.${key}`)) continue;
    words.push(t(`context.${key}`, { value: String(value) }));
  }
  return words.join(' · ');
}
