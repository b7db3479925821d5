// A tile: who lies there, the alert that matters most, and a line for each device.

import * as clock from './clock.js';
import {
  arrange, h, put, set,
} from './dom.js';
import { shortTime, wordOf } from './format.js';
import { t } from './i18n.js';
import {
  GLYPHS, countsOf, message, nobody,
} from './alert-words.js';
import { ruleTags } from './beds.js';
import { DeviceLine } from './device-line.js';
import { tileAlert } from './order.js';
import { deviceKey, store } from './store.js';
import { aboutText } from './who.js';

const STALE = ['fresh', 'ageing', 'stale'];

export class Tile {
  /**
   * `tiles`, of which it uses: `onStrips()`: other strips are shown; `onFault(error)`: a device could
   * not be drawn; `onOpen(key)`: somebody wants to see more of this place; `toggleStrip(key)`.
   */
  constructor(key, tiles) {
    const { onStrips, onFault, onOpen } = tiles;
    Object.assign(this, {
      key, tiles, onStrips, onFault,
    });
    this.lines = new Map();
    this.drawnMs = 0;
    const span = (name) => h('span', { class: name });
    [this.bed, this.name, this.about] = ['bed', 'name', 'about'].map(span);
    [this.tags, this.note] = ['tags', 'who'].map(span);
    this.open = h('button', { class: 'open', onclick: () => onOpen(key) },
      this.bed, this.name);
    this.alert = h('p', { class: 'tile-alert' });
    this.body = h('div', { class: 'device-lines' });
    this.element = h('article', {
      class: 'tile',
      onclick: ({ target }) => {
        if (!target.closest('button, select, .paper')) onOpen(key);
      },
    },
    h('header', {}, this.open, this.about, this.tags, this.note), this.alert, this.body);
  }

  strips() {
    return [...this.lines.values()].map((line) => line.strip).filter(Boolean);
  }

  /** It is shown no more. */
  leave() {
    for (const line of this.lines.values()) line.leave();
  }

  /** `place` as `placesOf` has it; `alerts` are those of this place; `choice` of strips. */
  draw(place, alerts, lost, choice) {
    this.drawnMs = clock.now();
    const patient = store.patients.get(place.patient) || null;
    const first = tileAlert(alerts);
    let others = false;
    const keys = place.devices.map(deviceKey);
    for (const [key, line] of this.lines) {
      if (keys.includes(key)) continue;
      others = others || Boolean(line.strip);
      line.leave();
      this.lines.delete(key);
    }
    const lines = place.devices.map((device) => {
      const line = this.line(device, choice);
      others = line.showStrip(choice.shown.has(deviceKey(device)), device) || others;
      line.offerStrip(choice.offers && hasStrip(device));
      try {
        line.draw(store.devices.get(deviceKey(device)) || device, lost);
      } catch (error) {
        line.blank();
        this.onFault(error);
      }
      return line;
    });
    arrange(this.body, lines.map((line) => line.element));
    const rank = (line) => STALE.indexOf(line.staleness.stale);
    const worst = lines.reduce((a, line) => Math.max(a, rank(line)), 0);
    const hatched = lines.length > 0 && lines.every((line) => line.staleness.hatched);
    const only = place.kind === 'device' ? place.devices[0] : null;
    for (const [name, value] of Object.entries({
      'data-bed': place.bed || '', 'data-place': place.kind, 'data-key': place.key,
      'data-device': only?.device, 'data-site': only?.site, 'data-kind': only?.kind,
      'data-device-state': only?.state,
      'data-cut': lines.length && lines.every((line) => line.element.dataset.cut) ? 'true' : null,
      'data-priority': first?.priority ?? 'none', 'data-alert-state': first?.state,
      'data-stale': STALE[worst], 'data-hatched': hatched ? 'true' : null,
      'data-wide': this.strips().length ? 'true' : null,
    })) set(this.element, name, value);
    this.drawHead(place, patient);
    this.drawAlert(first, alerts.filter((alert) => alert !== first));
    return others;
  }

  drawHead(place, patient) {
    const bed = place.bed ? t('tiles.bed', { bed: place.bed }) : '';
    put(this.bed, bed);
    const [device] = place.devices;
    const what = place.kind === 'device' && device ? wordOf('kind', device.kind, t) : '';
    put(this.name, patient ? patient.name || t('tiles.unnamed') : what);
    set(this.name, 'hidden', !this.name.textContent);
    put(this.about, patient ? aboutText(patient) : '');
    drawTags(this.tags, patient);
    put(this.note, noteOf(place));
    set(this.open, 'aria-label', t('tiles.open', {
      what: [bed, this.name.textContent, device && !patient ? device.device : ''].filter(Boolean)
        .join(' '),
    }));
  }

  /** The alert that matters most, with its state: what is over must not look as if it held. */
  drawAlert(alert, others) {
    set(this.alert, 'hidden', !alert);
    if (!alert) return;
    const glyph = alert.state === 'unknown' ? '?' : GLYPHS[alert.priority];
    put(this.alert, [
      `${glyph} ${t(`priority.${alert.priority}`)} ${message(alert)}`,
      stateWord(alert),
      ...(others.length ? [t('tiles.more_alerts', { counts: behind(others) })] : []),
    ].join(' · '));
  }

  line(device, choice) {
    const key = deviceKey(device);
    if (!this.lines.has(key)) {
      const line = new DeviceLine(device, this.onStrips, choice.shown.has(key));
      line.stripButton.addEventListener('click', () => this.tiles.toggleStrip(key));
      this.lines.set(key, line);
      this.isNew = true;
    }
    return this.lines.get(key);
  }
}

/** Its state; of what is shelved, until when. */
function stateWord({ state, shelved_until: until }) {
  return state === 'shelved' && until
    ? t('tiles.shelved', { until: shortTime(Date.parse(until), clock.serverNow()) })
    : wordOf('state', state, t);
}

/**
 * `高 1 · 已恢复未确认 高 2 · 搁置 高 1`: behind a low alert that holds there may be a high one that is
 * over and nobody has seen, or one on the shelf; neither must look as the others.
 */
function behind(alerts) {
  const apart = ['cleared_unack', 'shelved'];
  const counts = (is) => countsOf(alerts.filter(is));
  return [
    counts(({ state }) => !apart.includes(state)),
    ...apart.map((name) => {
      const some = counts(({ state }) => state === name);
      return some && `${t(`state.${name}`)} ${some}`;
    }),
  ].filter(Boolean).join(' · ');
}

export function hasStrip(device) {
  return device.kind === 'monitor' || device.kind === 'ecg_strap';
}

/** Which rules somebody has. */
export function drawTags(parent, patient) {
  const tags = patient ? ruleTags(patient) : [];
  arrange(parent, tags.map((tag, index) => {
    const element = parent.children[index] || h('span', { class: 'tag' });
    set(element, 'data-tag', tag);
    put(element, t(`tag.${tag}`));
    return element;
  }));
}

function noteOf(place) {
  if (place.kind === 'empty') return t('tiles.empty_bed');
  if (place.kind === 'patient') return place.devices.length ? '' : t('tiles.no_device');
  const [device] = place.devices;
  return `${device ? nobody(device) : t('patient.none')} · ${t('tiles.adult_rules')}`;
}
