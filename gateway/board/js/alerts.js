// The alert list: rows that stay put under the finger, keys, and the thumb's button.

import {
  REASONS, Row, message, place,
} from './alert-row.js';
import * as clock from './clock.js';
import {
  arrange, h, put, set,
} from './dom.js';
import { t } from './i18n.js';
import { compareAlerts, heldOrder, isUnacknowledged } from './order.js';
import { store } from './store.js';

/** A row does not move for this long after a pointer or the focus enters it. */
const HELD_MS = 3_000;
/** However busy the finger: the order is put right at least this often. */
const HELD_MAX_MS = 10_000;

export class AlertList {
  /**
   * `isLost()`: the link is lost; `knowledge()`: whether the list is the present; `onChange()`:
   * something must be drawn; `onStrange()`: the county knows otherwise; `onLoggedOut()`.
   */
  constructor({
    isLost, knowledge, onChange, onStrange, onLoggedOut,
  }) {
    Object.assign(this, {
      isLost, knowledge, onChange, onStrange, onLoggedOut,
    });
    this.rows = new Map();
    this.announced = new Set();
    this.heldSince = null;
    this.heldUntil = 0;
    this.openId = null;
    this.thumbId = null;
    this.pressedId = null;
    this.shownIds = [];
    this.heading = h('h2', { id: 'alerts-heading' });
    this.waiting = h('span', { class: 'waiting', role: 'status' });
    this.list = h('ol', { class: 'alerts', 'aria-labelledby': 'alerts-heading' });
    this.empty = h('p', { class: 'empty' });
    this.assertive = h('div', { class: 'unseen', role: 'alert' });
    this.polite = h('div', { class: 'unseen', role: 'status', 'aria-live': 'polite' });
    [this.thumbWhat, this.thumbWhere] = ['thumb-what', 'thumb-where'].map((name) => h('span', {
      class: name,
    }));
    // It opens the alert that stood on it when the finger came down, whatever it says by then.
    this.thumb = h('button', {
      class: 'thumb',
      onpointerdown: () => {
        this.pressedId = this.thumbId;
      },
      // A key pressed it where nothing came down.
      onclick: ({ detail }) => this.thumbPressed(detail === 0 ? this.thumbId : this.pressedId),
    }, this.thumbWhat, this.thumbWhere);
    this.element = h('section', { class: 'alert-list' },
      h('div', { class: 'list-head' }, this.heading, this.waiting),
      this.list, this.empty, this.assertive, this.polite, this.thumb);
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
    const knowledge = this.knowledge();
    const known = knowledge === 'known';
    put(this.heading, known || ids.length ? t('alerts.heading', { n: store.alerts.size })
      : t('alerts.heading_unknown'));
    put(this.empty, known && ids.length ? '' : t(`alerts.none.${knowledge}`));
    set(this.empty, 'data-knowledge', knowledge);
    if (this.openId !== null && !isOpen(this.openId)) this.openId = null;
    const rows = ids.map((id) => this.row(id)).filter(Boolean);
    const focused = document.activeElement;
    arrange(this.list, rows.map((row) => row.element));
    if (focused && focused !== document.activeElement && focused.isConnected) focused.focus();
    for (const id of this.rows.keys()) if (!ids.includes(id)) this.rows.delete(id);
    this.announce(sorted);
    this.drawThumb();
  }

  drawThumb() {
    const next = this.current();
    this.thumbId = next ?? null;
    set(this.thumb, 'hidden', !next || this.openId !== null);
    set(this.thumb, 'disabled', this.isLost());
    if (!next) return;
    const alert = store.alerts.get(next);
    set(this.thumb, 'data-priority', alert.priority);
    put(this.thumbWhat, t('alerts.thumb', { what: message(alert) }));
    put(this.thumbWhere, place(alert));
  }

  thumbPressed(id) {
    if (id !== null && isOpen(id)) this.acknowledgeStart(id);
    else this.onChange();
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
    return focused && isOpen(focused) ? focused : this.shownIds.find(isOpen);
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

  /** `A`. */
  acknowledgeKey() {
    const id = this.current();
    if (id) this.acknowledgeStart(id);
  }

  acknowledgeStart(id) {
    if (this.isLost()) return;
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

/** Whether nobody has it in hand. */
function isOpen(id) {
  const alert = store.alerts.get(id);
  return Boolean(alert) && isUnacknowledged(alert);
}
