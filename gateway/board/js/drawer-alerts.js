// The alerts of a day of one place, with what happened to them and the strip around them.

import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { dateTime, shortTime, unitText, wordOf } from './format.js';
import { t } from './i18n.js';
import { GLYPHS, message } from './alert-words.js';
import { deviceKey, store } from './store.js';
import { hasStrip } from './tile.js';

const SHOWN_MAX = 50;

export class DrawerAlerts {
  /** `onStrip(alert)`: the strip around it is wanted. */
  constructor({ onStrip }) {
    this.onStrip = onStrip;
    this.heading = h('h3');
    this.empty = h('p', { class: 'quiet' });
    this.list = h('ol', { class: 'drawer-alerts' });
    this.element = h('section', {}, this.heading, this.empty, this.list);
    this.clear();
  }

  clear() {
    this.alerts = [];
    this.rows = new Map();
    this.list.replaceChildren();
  }

  show(alerts) {
    this.alerts = [...alerts].reverse().slice(0, SHOWN_MAX);
  }

  draw() {
    put(this.heading, t('drawer.alerts', { n: this.alerts.length }));
    put(this.empty, this.alerts.length ? '' : t('drawer.no_alerts'));
    arrange(this.list, this.alerts.map((one) => this.row(store.alerts.get(one.id) || one)));
  }

  row(alert) {
    if (!this.rows.has(alert.id)) {
      const span = (name) => h('span', { class: name });
      const parts = {
        head: span('message'),
        words: span('small'),
        strip: h('button', { onclick: () => this.onStrip(alert) }),
        story: h('ol', { class: 'timeline' }),
        summary: h('summary'),
      };
      parts.element = h('li', { class: 'drawer-alert' }, parts.head, parts.words, parts.strip,
        h('details', {}, parts.summary, parts.story));
      this.rows.set(alert.id, parts);
    }
    const row = this.rows.get(alert.id);
    for (const [name, value] of Object.entries({
      'data-alert-id': alert.id, 'data-priority': alert.priority, 'data-state': alert.state,
      'data-retro': alert.retro ? 'true' : null,
    })) set(row.element, name, value);
    const nowMs = clock.serverNow();
    const glyph = GLYPHS[alert.priority] || 'ⓘ';
    put(row.head, `${glyph} ${t(`priority.${alert.priority}`)} ${message(alert)}`);
    const ends = alert.cleared_at ? ` – ${shortTime(Date.parse(alert.cleared_at), nowMs)}` : '';
    put(row.words, [
      `${shortTime(Date.parse(alert.started_at), nowMs)}${ends}`,
      wordOf('state', alert.state, t),
      alert.retro ? t('alerts.retro') : '',
      alert.value ? t('alerts.outside', {
        value: [alert.comparator, alert.value, unitText(alert.unit, t)].filter(Boolean).join(' '),
      }) : '',
      alert.limit ? t('alerts.limit', { limit: alert.limit }) : '',
    ].filter(Boolean).join(' · '));
    const device = store.devices.get(deviceKey(alert));
    set(row.strip, 'hidden', !device || !hasStrip(device));
    put(row.strip, t('review.around'));
    put(row.summary, t('alerts.more'));
    arrange(row.story, (alert.timeline || []).map((entry, index) => {
      const line = row.story.children[index] || h('li');
      put(line, [
        dateTime(Date.parse(entry.at)).slice(5), wordOf('timeline', entry.what, t), entry.by || '',
        entry.reason ? wordOf('reason', entry.reason, t) : '', entry.note || '',
        entry.to ? `→ ${entry.to}` : '',
      ].filter(Boolean).join(' · '));
      return line;
    }));
    return row.element;
  }
}
