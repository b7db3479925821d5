// The alert list: rows that stay put under the finger, keys, and the thumb's button.

import * as api from './api.js';
import { NOTE_MAX, mayAct } from './alert-actions.js';
import { Row } from './alert-row.js';
import { SHIFT_MS, Sections, floodOf } from './alert-sections.js';
import {
  GLYPHS, countsOf, message, whatOf, where, who,
} from './alert-words.js';
import { Choosing, choiceIn } from './choosing.js';
import * as clock from './clock.js';
import {
  arrange, h, put, set,
} from './dom.js';
import { isShown } from './filter.js';
import { shortTime } from './format.js';
import { t } from './i18n.js';
import { Offline, TOO_OLD_MS, againOf } from './offline.js';
import { OfflineNote } from './offline-note.js';
import {
  compareAlerts, heldOrder, isUnacknowledged, isMoreUrgent,
} from './order.js';
import { beginningKey } from './sounding.js';
import {
  CLOSED_MAX, deviceKey, putAlert, store,
} from './store.js';

/** A row does not move for this long after a pointer or the focus enters it. */
const HELD_MS = 3_000;
/** However busy the finger: the order is put right at least this often. */
const HELD_MAX_MS = 10_000;
/** From a look to a key. */
const LOOKED_MS = 1_000;
/** What the county did not answer is sent again. */
const SEND_AGAIN_MS = 5_000;

export class AlertList {
  /**
   * `undo`: the bar; `isLost()`: the link is lost; `knowledge()`: whether the list is the present;
   * `onChange()`: something must be drawn; `onStrange()`: the county knows otherwise;
   * `onLoggedOut()`; `onFault(error)`: one of them could not be drawn.
   */
  constructor({
    undo, isLost, knowledge, onChange, onStrange, onLoggedOut, onFault,
  }) {
    Object.assign(this, {
      undo, isLost, knowledge, onChange, onStrange, onLoggedOut, onFault,
    });
    this.rows = new Map();
    this.announced = new Set();
    this.heldSince = null;
    this.heldUntil = 0;
    this.heldTimer = null;
    this.choosing = new Choosing();
    this.openId = null;
    this.openDeed = null;
    /** The first that nobody has in hand, since when, and which was it before. */
    this.first = { id: undefined, before: undefined, sinceMs: 0 };
    this.thumbId = null;
    this.pressedId = null;
    this.shownIds = [];
    /** Whether the list is not at its top, and what stood in it then, with what waits. */
    this.isScrolled = false;
    this.waitingKey = '';
    /** What was acknowledged or shelved last, until `J` or `K`. */
    this.dealtId = null;
    this.flood = 0;
    /** What was acknowledged without a link and waits for it, by alert. */
    this.queue = new Offline(store.user.name);
    this.note = new OfflineNote(this.queue);
    this.sending = false;
    this.sections = new Sections((name, opens) => this.toggled(name, opens));
    this.build();
  }

  build() {
    this.heading = h('h2', { id: 'alerts-heading' });
    this.waiting = h('span', { class: 'waiting', role: 'status' });
    this.floodBanner = h('p', { class: 'flood', role: 'status', hidden: true });
    this.cutBanner = h('p', { class: 'flood', role: 'status', hidden: true });
    /** What is over was more than the county tells at once. */
    this.overCut = false;
    this.list = h('ol', { class: 'alerts', tabindex: '-1', 'aria-labelledby': 'alerts-heading' });
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
    this.above = h('button', { class: 'above count', hidden: true, onclick: () => this.toTop() });
    this.element = h('section', { class: 'alert-list', onscroll: () => this.drawAbove() },
      h('div', { class: 'list-head' }, this.heading, this.above, this.waiting),
      this.note.element, this.floodBanner, this.cutBanner, this.empty, this.list);
    // Whoever turns the wheel looks for a row, also within one that is higher than the list.
    this.element.addEventListener('wheel', () => this.hold(), { passive: true });
    /** What stays while a page stands in the place of the board. */
    this.outside = [this.assertive, this.polite, this.thumb];
  }

  /** A pointer or the focus has entered a row. */
  hold() {
    const nowMs = clock.now();
    if (nowMs >= this.heldUntil) this.heldSince = nowMs;
    const until = Math.min(nowMs + HELD_MS, this.heldSince + HELD_MAX_MS);
    this.heldUntil = Math.max(this.heldUntil, until);
    clock.cancel(this.heldTimer);
    this.heldTimer = clock.after(this.heldUntil - nowMs, () => clock.turn('held', () => this.onChange()));
  }

  /** The person wants another order than the one that is held. */
  release() {
    this.heldUntil = 0;
    this.choosing.release();
  }

  /** Whether the order stays as it is: a finger is in it, or somebody chooses in a row of it. */
  isHeld(nowMs) {
    const id = this.chosenId();
    const chooses = this.choosing.holds(id && `${id} ${this.openDeed}`, nowMs);
    return chooses || nowMs < this.heldUntil;
  }

  /** The row in which somebody chooses. */
  chosenId() {
    if (this.shownIds.includes(this.openId)) return this.openId;
    return choiceIn(this.list)?.closest('[data-alert-id]').dataset.alertId ?? null;
  }

  /** Draws the rows; also once a second for the ages. `only`: as `row` has it. */
  draw(only = null) {
    const nowMs = clock.now();
    const all = [...store.alerts.values()];
    const alerts = all.filter(isShown).sort(compareAlerts);
    const held = this.isHeld(nowMs);
    if (!held) this.flood = floodOf([...all, ...store.closed.values()], clock.serverNow());
    const sorted = this.sections.ids(alerts, this.flood > 0);
    // Who is asked for the PIN sees of which alert, though its row is filtered or shut away.
    const asks = this.openDeed === 'confirm' && !sorted.includes(this.openId);
    if (asks) sorted.unshift(this.openId);
    const ids = held ? heldOrder(this.shownIds, sorted, this.chosenId()) : sorted;
    const late = held ? ids.filter((id, index) => sorted[index] !== id).length : 0;
    this.shownIds = ids;
    put(this.waiting, late ? t('alerts.held') : '');
    this.drawHead(alerts);
    const over = this.openDeed === 'acknowledge' ? !isOpen(this.openId)
      : this.openId !== null && !this.child(this.openId);
    if (this.openId !== null && over) [this.openId, this.openDeed] = [null, null];
    const elements = ids.map((id) => this.child(id, only)).filter(Boolean);
    const focused = document.activeElement;
    arrange(this.list, elements);
    if (focused && focused !== document.activeElement && focused.isConnected) focused.focus();
    for (const id of this.rows.keys()) {
      if (!ids.includes(id) && !this.queue.has(id)) this.rows.delete(id);
    }
    this.announce(all.map(({ id }) => id));
    this.note.draw();
    this.drawThumb();
    const waiting = ids.map((id) => (isOpen(id) ? `${id}!` : id)).join();
    // Where only numbers changed every row is where it was; of a list at its top nothing is above.
    if (waiting !== this.waitingKey && this.isScrolled) this.drawAbove();
    this.waitingKey = waiting;
  }

  /**
   * What waits above what is in sight: a list that is scrolled, or that follows a row which went
   * down, shows only the rest.
   */
  drawAbove() {
    const { scrollTop } = this.element;
    this.isScrolled = scrollTop > 0;
    const edge = scrollTop > 0 && this.list.getBoundingClientRect().top + scrollTop;
    const waiting = scrollTop > 0 ? this.shownIds.filter((id) => (
      isOpen(id) && this.rows.get(id)?.element.getBoundingClientRect().bottom <= edge)) : [];
    const [first] = waiting;
    set(this.above, 'hidden', !first);
    if (!first) return;
    const alerts = waiting.map((id) => store.alerts.get(id));
    const { priority } = alerts.reduce((a, b) => (isMoreUrgent(b.priority, a.priority) ? b : a));
    set(this.above, 'data-priority', priority);
    put(this.above, `${GLYPHS[priority]} ${t('alerts.above', { counts: countsOf(alerts) })}`);
  }

  toTop() {
    this.element.scrollTop = 0;
    this.rows.get(this.shownIds.find(isOpen))?.element.focus();
  }

  drawHead(alerts) {
    const knowledge = this.knowledge();
    const known = knowledge === 'known';
    put(this.heading, known || alerts.length ? t('alerts.heading', { n: alerts.length })
      : t('alerts.heading_unknown'));
    const none = known && store.alerts.size ? 'filtered' : knowledge;
    // Rows that are there do not slide down each time that everything is fetched anew.
    put(this.empty, alerts.length && knowledge !== 'failed' ? '' : t(`alerts.none.${none}`));
    set(this.empty, 'data-knowledge', knowledge);
    const cut = store.truncated || this.overCut;
    set(this.cutBanner, 'hidden', !cut);
    put(this.cutBanner, cut ? t('alerts.truncated') : '');
    set(this.floodBanner, 'hidden', !this.flood);
    if (this.flood) put(this.floodBanner, t('alerts.flood', { n: this.flood }));
  }

  drawThumb() {
    const first = this.shownIds.find(isOpen);
    if (first !== this.first.id) this.first = { id: first, before: this.first.id, sinceMs: clock.now() };
    const next = this.current();
    this.thumbId = next ?? null;
    set(this.thumb, 'hidden', !next || this.openId !== null || !mayAct());
    if (!next) return;
    const alert = store.alerts.get(next);
    set(this.thumb, 'data-priority', alert.priority);
    put(this.thumbWhat, t(this.isLost() ? 'alerts.thumb_offline' : 'alerts.thumb', {
      what: message(alert),
    }));
    put(this.thumbWhere, [who(alert), where(alert)].join(' · '));
  }

  thumbPressed(id) {
    if (id === null || !isOpen(id)) {
      this.onChange();
      return;
    }
    // The row may lie behind a page or the drawer.
    if (window.location.hash.length > 1) {
      window.addEventListener('hashchange', () => this.acknowledgeStart(id), { once: true });
      window.location.hash = '';
    } else this.acknowledgeStart(id);
  }

  child(id, only = null) {
    return this.guarded(() => (
      id.startsWith('#') ? this.sections.head(id) : this.row(id, only)?.element
    )) ?? this.rows.get(id)?.element;
  }

  /** What fails is told and stops no other row. */
  guarded(run) {
    try {
      return run();
    } catch (error) {
      this.onFault(error);
      return null;
    }
  }

  /** The row of an alert, drawn; `only`: nothing but readings of these devices changed. */
  row(id, only = null) {
    let row = this.rows.get(id);
    const alert = store.alerts.get(id) || store.closed.get(id)
      || (row && { ...row.alert, state: 'closed' });
    if (!alert) return null;
    if (row && only && row.alert === alert && !only.has(deviceKey(alert))) return row;
    if (!row) {
      row = new Row(this, alert);
      this.rows.set(id, row);
    }
    row.draw(alert);
    return row;
  }

  /** A part was opened or shut; what is over is fetched when somebody wants to see it. */
  async toggled(name, opens) {
    this.release();
    this.onChange();
    if (name !== 'over' || !opens) return;
    try {
      const { alerts, truncated } = await api.closedAlerts(clock.serverNow() - SHIFT_MS);
      this.overCut = truncated || alerts.length > CLOSED_MAX;
      alerts.forEach(putAlert);
      this.sections.over = 'known';
    } catch (failure) {
      this.sections.over = 'failed';
      if (failure.status === 401) this.onLoggedOut();
    }
    this.onChange();
  }

  /**
   * Says what is new: high at once, the rest when there is time. A high one of a township that is
   * not shown sounds, so it is said too, and where it is.
   */
  announce(ids) {
    const keyOf = (id) => beginningKey(store.alerts.get(id));
    const fresh = ids.filter((id) => !this.announced.has(keyOf(id)));
    this.announced = new Set(ids.map(keyOf));
    const told = (priority, region) => {
      const words = fresh.map((id) => store.alerts.get(id))
        .filter((alert) => (alert.priority === 'high') === (priority === 'high'))
        .filter((alert) => isUnacknowledged(alert) && !alert.retro)
        .filter((alert) => isShown(alert) || priority === 'high')
        .map((alert) => this.guarded(() => [
          t(`priority.${alert.priority}`), message(alert), who(alert),
          isShown(alert) ? '' : where(alert),
        ].filter(Boolean).join(' ')))
        .filter(Boolean);
      // A new element: the same words once more are said once more.
      if (words.length) region.replaceChildren(h('p', {}, words.join('; ')));
    };
    told('high', this.assertive);
    told('other', this.polite);
  }

  /** The row with the focus, else the first that nobody has in hand. */
  current() {
    const focused = this.focused();
    return focused && isOpen(focused) ? focused : this.shownIds.find(isOpen);
  }

  focused() {
    return document.activeElement?.closest?.('[data-alert-id]')?.dataset.alertId;
  }

  /** `J` and `K`. */
  step(by) {
    const ids = this.shownIds.filter((id) => this.rows.has(id));
    const focused = this.focused();
    const at = ids.indexOf(focused);
    let next = at < 0 ? 0 : Math.min(ids.length - 1, Math.max(0, at + by));
    // What was just dealt with went down the list: from there the first that waits is the next.
    const waits = ids.findIndex(isOpen);
    if (by > 0 && focused === this.dealtId && waits >= 0) next = waits;
    this.dealtId = null;
    // What is open is of the row that is left.
    if (this.openId !== null && this.openId !== ids[next]) this.open(null);
    this.rows.get(ids[next])?.element.focus();
  }

  /** `Enter`. */
  toggleDetail() {
    const id = document.activeElement?.dataset?.alertId;
    const row = id && this.rows.get(id);
    if (row) row.toggleDetail();
    return Boolean(row);
  }

  /** `A`. One that came first this moment is not what was looked at. */
  acknowledgeKey() {
    const id = isOpen(this.focused()) ? this.focused() : this.lookedAt();
    if (id) this.acknowledgeStart(id);
  }

  /** What stood first when somebody looked. */
  lookedAt() {
    const { id, before, sinceMs } = this.first;
    return clock.now() - sinceMs < LOOKED_MS && before && isOpen(before) ? before : id;
  }

  acknowledgeStart(id) {
    this.rows.get(id)?.actions.open('acknowledge');
  }

  /** `S` and `E`: of the row with the focus, else of the first that nobody has in hand. */
  deedKey(deed) {
    const row = this.rows.get(this.focused() ?? this.lookedAt());
    if (!row || row.alert.state === 'closed') return;
    row.openDetail();
    row.actions.open(deed);
  }

  /** A digit after `A` or `E`; where the focus went to another row it is of neither. */
  reasonKey(digit) {
    if (this.focused() !== this.openId) return;
    this.rows.get(this.openId)?.actions.reasonKey(digit);
  }

  /** `Esc`; whether there was something to close. */
  escape() {
    if (this.openId === null) return false;
    const row = this.rows.get(this.openId);
    this.open(null);
    row?.element.focus();
    return true;
  }

  /** Opens a deed of an alert, or closes what is open. */
  open(id, deed = null) {
    this.openId = id;
    this.openDeed = deed;
    this.hold();
    this.onChange();
  }

  offerUndo(alert, deed) {
    this.dealtId = alert.id;
    this.undo.offer(() => t(`undo.${deed}`, { what: whatOf(alert) }), async () => {
      putAlert(await api.act(alert.id, 'undo', null));
      this.onChange();
    });
  }

  /** What was acknowledged without a link and is not sent yet was never said. */
  offerOfflineUndo(alert) {
    const said = () => this.queue.said(alert.id);
    const own = said();
    this.undo.offer(() => t('undo.offline', { what: whatOf(alert) }), async () => {
      // While it is on its way nobody knows; sent, it is taken back at the county.
      if (this.rows.get(alert.id)?.actions.busy === 'sending') throw new api.Failure(0, {});
      if (said() === own) this.queue.delete(alert.id);
      else putAlert(await api.act(alert.id, 'undo', null));
      this.onChange();
    });
  }

  /**
   * The link is back: what was acknowledged without it goes to the county, one after the other,
   * also where its row is not shown. It waits here until the county has answered.
   */
  async sendQueue() {
    if (this.sending) return;
    this.sending = true;
    try {
      if (this.queue.size && await this.isStillTheirs()) await this.sendEach();
    } finally {
      this.sending = false;
    }
    this.onChange();
  }

  /** In another tab somebody else may have logged in: nothing is sent in their name. */
  async isStillTheirs() {
    try {
      const { name } = await api.session();
      if (name === store.user?.name) return true;
      this.onLoggedOut('other');
    } catch (failure) {
      if (failure.status === 401) this.onLoggedOut();
      else this.sendAgain();
    }
    return false;
  }

  async sendEach() {
    for (const [id, said] of this.queue.entries()) {
      // The first that is refused asks who it is; the others go when that is said.
      if (this.isLost() || this.openDeed === 'confirm') return;
      if (!this.queue.has(id)) continue;
      const why = whyNot(id, said);
      if (why === null) await this.row(id).actions.sendWaiting(bodyOf(said));
      else {
        this.queue.delete(id);
        if (why) this.notSent(id, why);
      }
      if (this.queue.has(id) && this.openDeed !== 'confirm') {
        this.sendAgain();
        return;
      }
    }
  }

  /** What somebody acknowledged without a link is not known at the county: they must know that. */
  notSent(id, why) {
    const alert = store.alerts.get(id) || store.closed.get(id);
    this.note.tell(() => t('offline.not_sent', {
      what: alert ? message(alert) : t('offline.some'), why: why(),
    }));
  }

  /** The board is left: nothing is sent in the name of whoever comes next. */
  leave() {
    this.queue.leave();
  }

  /** The county did not answer: once more, and again when everything was fetched anew. */
  sendAgain() {
    clock.after(SEND_AGAIN_MS, () => this.sendQueue());
  }
}

/** Whether nobody has it in hand. */
function isOpen(id) {
  const alert = store.alerts.get(id);
  return Boolean(alert) && isUnacknowledged(alert);
}

/** Why what was acknowledged without a link is not sent; empty where that is no news. */
function whyNot(id, said) {
  const alert = store.alerts.get(id) || store.closed.get(id);
  if (!isOpen(id)) {
    const by = alert?.acknowledged_by;
    if (by === store.user.name) return '';
    return () => (by ? t('ack.first', { by }) : t('ack.over'));
  }
  if (clock.serverNow() - said.at > TOO_OLD_MS) return () => t('offline.too_old');
  // It became worse than what the person saw.
  if (isMoreUrgent(alert.priority, said.priority)) return () => t('offline.worse');
  // It sounds anew, whoever answered it before.
  if (againOf(alert) !== said.again) return () => t('offline.again');
  return null;
}

/**
 * What is sent: when it was said stands beside it, for it is stored later; and that there were words
 * with it which a reload has lost.
 */
function bodyOf({
  reason, note, noted, at,
}) {
  const said = t('offline.said', { at: shortTime(at, clock.serverNow()) });
  const lost = noted && note === undefined ? t('offline.note_lost') : '';
  return { reason, note: [note, said, lost].filter(Boolean).join(' · ').slice(0, NOTE_MAX) };
}
