// The alerts of a day of one place, with what happened to them and the strip around them.

import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { shortTime, unitText, wordOf } from './format.js';
import { t } from './i18n.js';
import {
  GLYPHS, limitText, message, storyLine, valueOf,
} from './alert-words.js';
import { between, filled, putLine } from './number.js';
import { deviceKey, store } from './store.js';
import { hasStrip } from './tile.js';

const SHOWN_MAX = 50;
const DAY_MS = 24 * 3_600_000;

/** Whether an alert is of a place: of its patient, or nobody's of its devices. */
export function isOfPlace(alert, place) {
  if (place.patient) return alert.patient === place.patient;
  return !alert.patient && place.devices.some((one) => deviceKey(one) === deviceKey(alert));
}

/** Those that were fetched, and what the stream of events knows newer or besides. */
function merged(fetched, place) {
  const since = clock.serverNow() - DAY_MS;
  const all = new Map(fetched.map((alert) => [alert.id, alert]));
  for (const alert of [...store.closed.values(), ...store.alerts.values()]) {
    const had = all.get(alert.id);
    const recent = alert.state !== 'closed' || Date.parse(alert.started_at) >= since;
    // One that became somebody else's leaves.
    if (!isOfPlace(alert, place)) all.delete(alert.id);
    else if (had ? had.revision <= alert.revision : recent) all.set(alert.id, alert);
  }
  const sorted = [...all.values()].sort((a, b) => (
    Date.parse(b.started_at) - Date.parse(a.started_at)));
  return sorted.filter((alert, index) => index < SHOWN_MAX || alert.state !== 'closed');
}

/** Whose strip there is around an alert: its device's, else that of a monitor of the same place. */
export function stripDevice(alert, place) {
  const own = store.devices.get(deviceKey(alert));
  return own && hasStrip(own) ? own : place.devices.find(hasStrip) ?? null;
}

export class DrawerAlerts {
  /** `onStrip(alert)`: the strip around it is wanted. */
  constructor({ onStrip }) {
    this.onStrip = onStrip;
    this.heading = h('h3');
    this.empty = h('p', { class: 'quiet' });
    this.list = h('ol', { class: 'drawer-alerts' });
    this.cut = h('p', { class: 'flood', hidden: true });
    this.element = h('section', {}, this.heading, this.cut, this.empty, this.list);
    this.clear();
  }

  clear() {
    this.alerts = [];
    this.truncated = false;
    this.rows = new Map();
    this.list.replaceChildren();
  }

  /** `truncated`: there are older ones that were not told. */
  show(alerts, truncated) {
    this.alerts = alerts;
    this.truncated = truncated;
  }

  draw(place) {
    const shown = merged(this.alerts, place);
    put(this.heading, t('drawer.alerts', { n: shown.length }));
    set(this.cut, 'hidden', !this.truncated);
    put(this.cut, this.truncated ? t('alerts.truncated') : '');
    put(this.empty, shown.length ? '' : t('drawer.no_alerts'));
    arrange(this.list, shown.map((one) => this.row(one, place)));
    // A drawer may stay open for days.
    const ids = new Set(shown.map(({ id }) => id));
    for (const id of this.rows.keys()) if (!ids.has(id)) this.rows.delete(id);
  }

  row(alert, place) {
    if (!this.rows.has(alert.id)) {
      const span = (name) => h('span', { class: name });
      const parts = {
        head: span('message'),
        words: span('small'),
        strip: h('button', { onclick: () => this.onStrip(parts.alert) }),
        story: h('ol', { class: 'timeline' }),
        summary: h('summary'),
      };
      parts.element = h('li', { class: 'drawer-alert' }, parts.head, parts.words, parts.strip,
        h('details', {}, parts.summary, parts.story));
      this.rows.set(alert.id, parts);
    }
    const row = this.rows.get(alert.id);
    row.alert = alert;
    for (const [name, value] of Object.entries({
      'data-alert-id': alert.id, 'data-priority': alert.priority, 'data-state': alert.state,
      'data-retro': alert.retro ? 'true' : null,
    })) set(row.element, name, value);
    const nowMs = clock.serverNow();
    const glyph = GLYPHS[alert.priority] || 'ⓘ';
    put(row.head, `${glyph} ${t(`priority.${alert.priority}`)} ${message(alert)}`);
    const ends = alert.cleared_at ? ` – ${shortTime(Date.parse(alert.cleared_at), nowMs)}` : '';
    const value = valueOf(alert);
    putLine(row.words, between([
      [`${shortTime(Date.parse(alert.started_at), nowMs)}${ends}`],
      [wordOf('state', alert.state, t)],
      [alert.retro ? t('alerts.retro', { at: shortTime(Date.parse(alert.started_at), nowMs) }) : ''],
      value ? filled('alerts.outside', {
        value: between([[value], [unitText(alert.unit, t)]], ' '),
      }) : [],
      [limitText(alert)],
    ], ' · '));
    set(row.strip, 'hidden', !stripDevice(alert, place));
    put(row.strip, t('review.around'));
    put(row.summary, t('alerts.more'));
    arrange(row.story, (alert.timeline || []).map((entry, index) => {
      const line = row.story.children[index] || h('li');
      put(line, storyLine(entry));
      return line;
    }));
    return row.element;
  }
}
