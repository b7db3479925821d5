// The alert list: rows that stay put under the finger, and acknowledging.

import * as api from './api.js';
import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { ageText, shortTime, unitText, wordOf } from './format.js';
import { either, t } from './i18n.js';
import { compareAlerts, heldOrder, isUnacknowledged } from './order.js';
import { putAlert, store } from './store.js';

export const GLYPHS = { high: '▲!!!', medium: '■!!', low: '●!' };
export const REASONS = [
  'at_bedside', 'doctor_called', 'rechecking', 'probe_loose', 'false_alarm', 'referred',
];
/** A row does not move for this long after a pointer or the focus enters it. */
const HELD_MS = 3_000;
/** However busy the finger: the order is put right at least this often. */
const HELD_MAX_MS = 10_000;
const NOTE_MAX = 500;

export class AlertList {
  /** `isLost()`: the link is lost; `onChange()`: something must be drawn; `onLoggedOut()`. */
  constructor({ isLost, onChange, onLoggedOut }) {
    Object.assign(this, { isLost, onChange, onLoggedOut });
    this.rows = new Map();
    this.announced = new Set();
    this.heldSince = null;
    this.heldUntil = 0;
    this.openId = null;
    this.shownIds = [];
    this.heading = h('h2', { id: 'alerts-heading' });
    this.waiting = h('p', { class: 'waiting', role: 'status' });
    this.list = h('ol', { class: 'alerts', 'aria-labelledby': 'alerts-heading' });
    this.empty = h('p', { class: 'empty' });
    this.assertive = h('div', { class: 'unseen', role: 'alert' });
    this.polite = h('div', { class: 'unseen', role: 'status', 'aria-live': 'polite' });
    this.thumb = h('button', { class: 'thumb', onclick: () => this.acknowledgeKey() });
    this.element = h('section', { class: 'alert-list' },
      this.heading, this.waiting, this.list, this.empty, this.assertive, this.polite, this.thumb);
  }

  /** A pointer or the focus has entered a row. */
  hold() {
    const nowMs = clock.now();
    if (nowMs >= this.heldUntil) this.heldSince = nowMs;
    const until = Math.min(nowMs + HELD_MS, this.heldSince + HELD_MAX_MS);
    this.heldUntil = Math.max(this.heldUntil, until);
    clock.after(HELD_MS, () => this.onChange());
  }

  /** Draws the rows; also once a second for the ages. */
  draw() {
    const sorted = [...store.alerts.values()].sort(compareAlerts).map((alert) => alert.id);
    const held = clock.now() < this.heldUntil;
    const ids = held ? heldOrder(this.shownIds, sorted) : sorted;
    const late = held ? ids.filter((id, index) => sorted[index] !== id).length : 0;
    this.shownIds = ids;
    put(this.waiting, late ? t('alerts.held') : '');
    put(this.heading, t('alerts.heading', { n: store.alerts.size }));
    put(this.empty, ids.length ? '' : t('alerts.none'));
    const rows = ids.map((id) => this.row(id)).filter(Boolean);
    const focused = document.activeElement;
    arrange(this.list, rows.map((row) => row.element));
    if (focused && focused !== document.activeElement && focused.isConnected) focused.focus();
    for (const id of this.rows.keys()) if (!ids.includes(id)) this.rows.delete(id);
    this.announce(sorted);
    const next = this.current();
    set(this.thumb, 'hidden', !next || this.openId !== null);
    set(this.thumb, 'disabled', this.isLost());
    if (next) put(this.thumb, t('alerts.thumb', { what: message(store.alerts.get(next)) }));
  }

  row(id) {
    let row = this.rows.get(id);
    const alert = store.alerts.get(id) || (row && { ...row.alert, state: 'closed' });
    if (!alert) return null;
    if (!row) {
      row = new Row(this, alert);
      this.rows.set(id, row);
    }
    row.draw(alert, id === this.openId);
    return row;
  }

  /** Says what is new: high at once, the rest when there is time. */
  announce(ids) {
    const fresh = ids.filter((id) => !this.announced.has(`${id}${store.alerts.get(id).priority}`));
    this.announced = new Set(ids.map((id) => `${id}${store.alerts.get(id).priority}`));
    const told = (priority, region) => {
      const words = fresh.map((id) => store.alerts.get(id))
        .filter((alert) => (alert.priority === 'high') === (priority === 'high'))
        .filter(isUnacknowledged)
        .map((alert) => `${t(`priority.${alert.priority}`)} ${message(alert)} ${alert.device}`);
      if (words.length) put(region, words.join('; '));
    };
    told('high', this.assertive);
    told('other', this.polite);
  }

  /** The row with the focus, else the first that nobody has in hand. */
  current() {
    const focused = document.activeElement?.closest?.('[data-alert-id]')?.dataset.alertId;
    if (focused && store.alerts.has(focused) && isUnacknowledged(store.alerts.get(focused))) {
      return focused;
    }
    return this.shownIds.find((id) => store.alerts.has(id) && isUnacknowledged(store.alerts.get(id)));
  }

  /** `J` and `K`. */
  step(by) {
    const focused = document.activeElement?.closest?.('[data-alert-id]')?.dataset.alertId;
    const at = this.shownIds.indexOf(focused);
    const next = at < 0 ? 0 : Math.min(this.shownIds.length - 1, Math.max(0, at + by));
    this.rows.get(this.shownIds[next])?.element.focus();
  }

  /** `Enter`. */
  toggleDetail() {
    const id = document.activeElement?.dataset?.alertId;
    const row = id && this.rows.get(id);
    if (row) row.toggleDetail();
    return Boolean(row);
  }

  /** `A`, and the button within thumb reach. */
  acknowledgeKey() {
    const id = this.current();
    if (!id || this.isLost()) return;
    this.open(id);
    this.rows.get(id)?.reasons[0].focus();
  }

  /** A digit after `A`. */
  reasonKey(digit) {
    const row = this.openId && this.rows.get(this.openId);
    if (row && REASONS[digit - 1]) row.acknowledge(REASONS[digit - 1]);
  }

  /** `Esc`; whether there was something to close. */
  escape() {
    if (this.openId === null) return false;
    const row = this.rows.get(this.openId);
    this.open(null);
    row?.element.focus();
    return true;
  }

  open(id) {
    this.openId = id;
    this.hold();
    this.draw();
  }
}

function message(alert) {
  return either(alert.message_zh, alert.message_en) || alert.family;
}

class Row {
  constructor(list, alert) {
    this.list = list;
    this.alert = alert;
    this.busy = '';
    this.detailOpen = false;
    this.build();
  }

  build() {
    const enter = () => this.list.hold();
    const span = (name) => h('span', { class: name });
    this.glyph = h('span', { class: 'glyph', 'aria-hidden': 'true' });
    [this.word, this.isNew, this.message, this.state, this.where] = [
      'word', 'new', 'message', 'state', 'where',
    ].map(span);
    [this.value, this.since, this.owner, this.problem] = [
      'value', 'since', 'owner', 'problem',
    ].map(span);
    set(this.problem, 'role', 'status');
    this.button = h('button', { class: 'ack', onclick: () => this.list.open(this.alert.id) });
    this.more = h('button', { class: 'more', onclick: () => this.toggleDetail() });
    this.detail = h('ol', { class: 'timeline', hidden: true });
    this.reasons = REASONS.map((reason) => h('button', {
      class: 'reason', 'data-reason': reason, onclick: () => this.acknowledge(reason),
    }));
    this.note = h('input', { class: 'note', maxlength: NOTE_MAX });
    this.cancel = h('button', { class: 'cancel', onclick: () => this.list.escape() });
    this.explain = h('p', { class: 'explain' });
    this.panel = h('div', { class: 'panel', role: 'group', hidden: true },
      this.explain, this.note, h('div', { class: 'reasons' }, ...this.reasons), this.cancel);
    this.element = h('li', {
      class: 'alert', tabindex: '-1', 'data-alert-id': this.alert.id,
      onpointerenter: enter, onfocusin: enter,
    },
    h('div', { class: 'priority' }, this.glyph, this.word, this.isNew),
    h('div', { class: 'body' },
      h('div', { class: 'line' }, this.message, this.value),
      h('div', { class: 'line small' }, this.state, this.where, this.since),
      h('div', { class: 'line small' }, this.owner, this.problem)),
    h('div', { class: 'buttons' }, this.button, this.more),
    this.panel, this.detail);
  }

  draw(alert, open) {
    this.alert = alert;
    const unknown = alert.state === 'unknown';
    const facts = {
      'data-priority': alert.priority, 'data-state': alert.state, 'data-bed': '',
      'data-device': alert.device, 'data-retro': alert.retro ? 'true' : null,
    };
    for (const [name, value] of Object.entries(facts)) set(this.element, name, value);
    put(this.glyph, unknown ? '?' : GLYPHS[alert.priority] || 'ⓘ');
    put(this.word, t(`priority.${alert.priority}`));
    put(this.isNew, alert.state === 'active_unack' ? t('alerts.new') : '');
    put(this.message, message(alert));
    this.drawValue(alert);
    const words = [t(`state.${alert.state}`)];
    if (alert.retro) words.push(t('alerts.retro'));
    if (alert.recurrences) words.push(t('alerts.recurred', { n: alert.recurrences }));
    put(this.state, words.join(' · '));
    put(this.where, [alert.device, alert.clinic || alert.site, t('patient.none')].join(' · '));
    const started = Date.parse(alert.started_at);
    put(this.since, t('alerts.since', {
      at: shortTime(started, clock.serverNow()), age: ageText(clock.serverNow() - started, t),
    }));
    put(this.owner, alert.acknowledged_by ? t('alerts.owner', {
      by: alert.acknowledged_by,
      at: shortTime(Date.parse(alert.acknowledged_at), clock.serverNow()),
      reason: wordOf('reason', alert.reason, t),
    }) : t('alerts.no_owner'));
    this.drawActions(alert, open);
  }

  drawValue(alert) {
    const metric = store.catalogue.get(alert.metric);
    if (!alert.value) {
      put(this.value, '');
      return;
    }
    const unit = unitText(alert.unit, t);
    put(this.value, [
      metric ? either(metric.name_zh, metric.name_en) : '',
      `${alert.comparator ? `${alert.comparator} ` : ''}${alert.value} ${unit}`.trim(),
      alert.limit ? t('alerts.limit', { limit: alert.limit }) : '',
    ].filter(Boolean).join(' '));
  }

  drawActions(alert, open) {
    const possible = isUnacknowledged(alert);
    const lost = this.list.isLost();
    set(this.button, 'hidden', !possible);
    set(this.button, 'disabled', lost || open || this.busy === 'sending');
    const label = open ? 'ack.choose' : 'ack.button';
    put(this.button, t(this.busy === 'sending' ? 'ack.sending' : label));
    set(this.button, 'aria-label', `${this.button.textContent}: ${message(alert)}`);
    put(this.more, t(this.detailOpen ? 'alerts.less' : 'alerts.more'));
    set(this.more, 'aria-expanded', String(this.detailOpen));
    set(this.panel, 'hidden', !open || !possible);
    put(this.explain, t('ack.explain'));
    set(this.note, 'placeholder', t('ack.note'));
    set(this.note, 'aria-label', t('ack.note'));
    put(this.cancel, t('ack.cancel'));
    this.reasons.forEach((button, index) => {
      put(button, `${index + 1} ${t(`reason.${REASONS[index]}`)}`);
      set(button, 'disabled', lost || this.busy === 'sending');
    });
    put(this.problem, this.busy && this.busy !== 'sending' ? this.busy() : '');
    if (this.detailOpen) this.drawDetail(alert);
  }

  drawDetail(alert) {
    arrange(this.detail, (alert.timeline || []).map((entry, index) => {
      const line = this.detail.children[index] || h('li');
      put(line, [
        shortTime(Date.parse(entry.at), clock.serverNow()),
        wordOf('timeline', entry.what, t),
        entry.by || '',
        wordOf('reason', entry.detail || '', t),
      ].filter(Boolean).join(' · '));
      return line;
    }));
  }

  toggleDetail() {
    this.detailOpen = !this.detailOpen;
    set(this.detail, 'hidden', !this.detailOpen);
    this.list.draw();
  }

  /** The row changes when the county says so and not before. */
  async acknowledge(reason) {
    if (this.busy === 'sending' || this.list.isLost()) return;
    this.busy = 'sending';
    this.list.hold();
    this.list.draw();
    try {
      putAlert(await api.acknowledge(this.alert.id, reason, this.note.value.trim()));
      this.busy = '';
      this.note.value = '';
      if (this.list.openId === this.alert.id) this.list.openId = null;
      this.element.focus();
    } catch (failure) {
      this.failed(failure);
    }
    this.list.onChange();
  }

  failed(failure) {
    if (failure.status === 401) this.list.onLoggedOut();
    const by = failure.problem.acknowledged_by;
    if (failure.status === 409 && this.list.openId === this.alert.id) this.list.openId = null;
    this.busy = () => {
      if (failure.status === 409) return by ? t('ack.first', { by }) : t('ack.over');
      return failure.status === 403 ? t('ack.forbidden') : t('ack.failed');
    };
  }
}
