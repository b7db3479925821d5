// One alert: what it says, acknowledging it, its story.

import * as api from './api.js';
import * as clock from './clock.js';
import {
  arrange, h, put, set,
} from './dom.js';
import {
  ageText, shortTime, unitText, wordOf,
} from './format.js';
import { either, t } from './i18n.js';
import { ageLine, judged } from './judged.js';
import { isUnacknowledged, seriesOf } from './order.js';
import { deviceKey, putAlert, store } from './store.js';

export const GLYPHS = { high: '▲!!!', medium: '■!!', low: '●!' };
export const REASONS = [
  'at_bedside', 'doctor_called', 'rechecking', 'probe_loose', 'false_alarm', 'referred',
];
const NOTE_MAX = 500;

/** What it says. */
export function message(alert) {
  return either(alert.message_zh, alert.message_en) || alert.family;
}

/** Where: clinic, device, patient. */
export function place(alert) {
  const kind = store.devices.get(deviceKey(alert))?.kind;
  const device = kind ? `${wordOf('kind', kind, t)} ${alert.device}` : alert.device;
  return [alert.clinic || alert.site, device, t('patient.none')].join(' · ');
}

/** For how long it has held; of what is over, from when to when. */
function sinceText(alert) {
  const nowMs = clock.serverNow();
  const started = Date.parse(alert.started_at);
  const at = shortTime(started, nowMs);
  const cleared = Date.parse(alert.cleared_at);
  if (alert.state !== 'cleared_unack' || Number.isNaN(cleared)) {
    return t('alerts.since', { at, age: ageText(nowMs - started, t) });
  }
  return t('alerts.over', { at, until: shortTime(cleared, nowMs) });
}

export class Row {
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
    [this.since, this.owner, this.problem] = ['since', 'owner', 'problem'].map(span);
    [this.metric, this.number, this.unit, this.limit, this.age, this.outside] = [
      'metric', 'number', 'unit', 'limit', 'age', 'outside',
    ].map(span);
    this.amount = h('span', { class: 'amount' }, this.number, this.unit);
    this.value = h('div', { class: 'line value' },
      this.metric, this.amount, this.age, this.outside, this.limit);
    set(this.problem, 'role', 'status');
    this.button = h('button', { class: 'ack', onclick: () => this.list.open(this.alert.id) });
    this.more = h('button', { class: 'more', onclick: () => this.toggleDetail() });
    this.detail = h('ol', { class: 'timeline', hidden: true });
    this.reasons = REASONS.map((reason) => h('button', {
      class: 'reason', 'data-reason': reason, onclick: () => this.acknowledge(reason),
    }));
    this.note = h('input', { class: 'note', maxlength: NOTE_MAX });
    this.cancel = h('button', { class: 'cancel', onclick: () => this.list.escape() });
    this.what = h('p', { class: 'what' });
    this.explain = h('p', { class: 'explain' });
    this.panel = h('div', { class: 'panel', role: 'group', hidden: true },
      this.what, this.explain, this.note,
      h('div', { class: 'reasons' }, ...this.reasons), this.cancel);
    this.element = h('li', {
      class: 'alert', tabindex: '-1', 'data-alert-id': this.alert.id,
      onpointerenter: enter, onfocusin: enter,
    },
    h('div', { class: 'priority' }, this.glyph, this.word, this.isNew),
    h('div', { class: 'body' },
      h('div', { class: 'line' }, this.message),
      this.value,
      h('div', { class: 'line small' }, this.where),
      h('div', { class: 'line small' }, this.state, this.since, this.owner),
      this.problem),
    h('div', { class: 'buttons' }, this.button, this.more),
    this.panel, this.detail);
  }

  draw(alert, open) {
    const { state, acknowledged_at: at } = this.alert;
    const changed = alert.state !== state || alert.acknowledged_at !== at;
    // What failed before is no news of the alert as it is now.
    if (changed && this.busy !== 'sending') this.busy = '';
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
    const words = [wordOf('state', alert.state, t)];
    if (alert.retro) words.push(t('alerts.retro'));
    if (alert.recurrences) words.push(t('alerts.recurred', { n: alert.recurrences }));
    put(this.state, words.join(' · '));
    put(this.where, place(alert));
    put(this.since, sinceText(alert));
    put(this.owner, alert.acknowledged_by && !isUnacknowledged(alert) ? t('alerts.owner', {
      by: alert.acknowledged_by,
      at: shortTime(Date.parse(alert.acknowledged_at), clock.serverNow()),
      reason: wordOf('reason', alert.reason, t),
    }) : t('alerts.no_owner'));
    this.drawActions(alert, open);
  }

  /** What is measured now, with its age; of what is over, what it was. */
  drawValue(alert) {
    const metric = store.catalogue.get(alert.metric);
    const words = {
      metric: metric ? either(metric.name_zh, metric.name_en) : '',
      limit: alert.limit ? t('alerts.limit', { limit: alert.limit }) : '',
    };
    const outside = alert.value ? [alert.comparator, alert.value].filter(Boolean).join(' ') : '';
    put(this.limit, words.limit);
    set(this.value, 'hidden', !alert.metric || !outside);
    const over = ['cleared_unack', 'closed'].includes(alert.state);
    const now = over ? null : this.present(alert);
    set(this.amount, 'hidden', over);
    set(this.age, 'hidden', over);
    put(this.number, now?.text ?? '--');
    set(this.number, 'data-metric', alert.metric);
    set(this.number, 'data-age-s', now ? Math.floor(now.ageMs / 1000) : null);
    set(this.number, 'data-stale', now?.stale ?? 'stale');
    const unit = unitText(alert.unit, t);
    put(this.unit, over || !now?.text ? '' : unit);
    const age = now ? [now.reason, ageLine(now, clock.serverNow())] : [];
    put(this.age, age.filter(Boolean).join(' · '));
    // The number that raised it, where it is not the one beside it.
    const same = now?.text === outside;
    put(this.metric, [words.metric, now?.text && !same ? t('alerts.now') : ''].filter(Boolean)
      .join(' · '));
    put(this.outside, same || alert.state === 'unknown' ? ''
      : t('alerts.outside', { value: `${outside} ${unit}`.trim() }));
  }

  /** The newest reading of the alert's metric as it may be shown; `null` where nobody knows. */
  present(alert) {
    const device = store.devices.get(deviceKey(alert));
    if (!device || alert.state === 'unknown') return null;
    const reading = seriesOf(device.series, alert);
    return reading ? judged(reading, device) : null;
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
    put(this.what, t('alerts.thumb', { what: message(alert) }));
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
        ...entryWords(entry),
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
    if (failure.status === 404) this.list.onStrange();
    const by = failure.problem.acknowledged_by;
    const over = [404, 409].includes(failure.status);
    if (over && this.list.openId === this.alert.id) this.list.openId = null;
    this.busy = () => {
      if (failure.status === 409) return by ? t('ack.first', { by }) : t('ack.over');
      if (failure.status === 404) return t('ack.gone');
      return failure.status === 403 ? t('ack.forbidden') : t('ack.failed');
    };
  }
}

/** Why and with which words; earlier counties sent both in one. */
function entryWords({ reason, note, detail }) {
  if (!reason && !note) return [wordOf('reason', detail || '', t)];
  return [reason ? wordOf('reason', reason, t) : '', note || ''];
}
