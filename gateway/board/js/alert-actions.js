// What one does with an alert: acknowledging and the rest. The row changes when the county says so
// and not before; what fails is said in the row.

import * as api from './api.js';
import { message, whatOf } from './alert-words.js';
import { FORMS, Form, READY } from './alert-forms.js';
import { SignsForm, isToAsk, referral } from './danger-signs.js';
import { arrange, h, put, set } from './dom.js';
import { t } from './i18n.js';
import { isUnacknowledged } from './order.js';
import { refusalText } from './refusal.js';
import { putAlert, store } from './store.js';

export const REASONS = [
  'at_bedside', 'doctor_called', 'rechecking', 'probe_loose', 'false_alarm', 'referred',
];
export const NOTE_MAX = 500;
/** What can be taken back. */
const UNDOABLE = ['acknowledge', 'shelve'];

/** Whether the person may do anything with alerts. */
export function mayAct() {
  return store.user?.may?.includes('act_on_alerts') !== false;
}

/** What one may do with an alert beside acknowledging it. */
function deedsOf({ state, asks_danger_signs: asks }) {
  if (state === 'closed') return [];
  if (state === 'shelved') return ['unshelve', 'assign', 'note'];
  if (state === 'out_of_service') return ['in-service', 'note'];
  const may = { escalate: state === 'active_unack', 'danger-signs': Boolean(asks) };
  return Object.keys(FORMS).filter((deed) => may[deed] ?? true);
}

export class Actions {
  constructor(row) {
    this.row = row;
    this.list = row.list;
    this.busy = '';
    this.again = null;
    /** Who was first. */
    this.first = null;
    this.offline = false;
    this.problem = h('span', { class: 'problem', role: 'status' });
    this.button = h('button', { class: 'ack', onclick: () => this.open('acknowledge') });
    this.askSigns = h('button', { class: 'ask-signs', onclick: () => this.open('danger-signs') });
    this.buttons = new Map();
    this.others = h('div', { class: 'deeds' });
    this.forms = new Map();
    this.buildPanel();
  }

  get id() {
    return this.row.alert.id;
  }

  /** What is open in this row: `acknowledge`, the name of a form, `confirm`, or `null`. */
  get deed() {
    return this.list.openId === this.id ? this.list.openDeed : null;
  }

  buildPanel() {
    this.reasons = REASONS.map((reason) => h('button', {
      class: 'reason', 'data-reason': reason, onclick: () => this.acknowledge(reason),
    }));
    this.note = h('input', { class: 'note', maxlength: NOTE_MAX });
    this.what = h('p', { class: 'what' });
    this.explain = h('p', { class: 'explain' });
    this.consent = h('button', {
      class: 'consent',
      onclick: () => {
        this.offline = true;
        this.list.draw();
        this.reasons[0].focus();
      },
    });
    this.acknowledging = h('div', { class: 'acknowledging' },
      this.note, this.consent, h('div', { class: 'reasons' }, ...this.reasons));
    this.password = h('input', { type: 'password', autocomplete: 'current-password' });
    this.passwordWords = h('span');
    this.passwordButton = h('button', { class: 'primary' });
    this.confirming = h('form', {
      class: 'deed',
      onsubmit: (event) => {
        event.preventDefault();
        this.confirm();
      },
    }, h('label', {}, this.passwordWords, this.password), this.passwordButton);
    this.cancel = h('button', { class: 'cancel', onclick: () => this.list.escape() });
    this.place = h('div', { class: 'deed-place' });
    this.panel = h('div', { class: 'panel', role: 'group', hidden: true });
    // They are in the page while the panel is open: with each new field a browser looks at all of them.
    this.parts = [
      this.what, this.explain, this.acknowledging, this.confirming, this.place, this.cancel,
    ];
  }

  open(deed) {
    if (!mayAct() || (this.list.isLost() && deed !== 'acknowledge')) return;
    this.offline = false;
    this.list.open(this.id, deed);
    this.focus(deed);
    this.panel.scrollIntoView({ block: 'nearest' });
  }

  focus(deed) {
    if (deed === 'acknowledge') {
      if (this.list.isLost()) this.consent.focus();
      else this.reasons[0].focus();
    } else if (deed === 'confirm') this.password.focus();
    else this.form(deed).focus();
  }

  form(deed) {
    let form = this.forms.get(deed);
    if (!form) {
      const send = (body) => this.send(deed, body);
      form = deed === 'danger-signs' ? new SignsForm(send)
        : new Form(deed, send, () => api.alertPeople(this.id));
      this.forms.set(deed, form);
    }
    return form;
  }

  /** What failed before is no news of the alert as it is now. */
  changed(before, after) {
    const same = before.state === after.state && before.acknowledged_at === after.acknowledged_at;
    // That somebody was first is told by the county's refusal and by its news, in any order.
    const known = this.first !== null && this.first === after.acknowledged_by;
    if (!same && !known && this.busy !== 'sending') this.busy = '';
  }

  draw(alert) {
    const possible = isUnacknowledged(alert) && mayAct();
    const lost = this.list.isLost();
    const sending = this.busy === 'sending';
    const queued = this.list.queue.has(alert.id);
    const { deed } = this;
    set(this.button, 'hidden', !possible);
    set(this.button, 'disabled', deed === 'acknowledge' || sending || (queued && lost));
    set(this.button, 'data-offline', lost ? 'true' : null);
    put(this.button, t(this.label(deed, sending, queued)));
    set(this.button, 'aria-label', `${this.button.textContent}: ${message(alert)}`);
    set(this.askSigns, 'hidden', !isToAsk(alert) || !mayAct());
    set(this.askSigns, 'disabled', lost || sending || deed === 'danger-signs');
    put(this.askSigns, t('deed.danger-signs'));
    this.drawOthers(alert, lost || sending);
    const isShut = !deed || (deed === 'acknowledge' && !possible);
    set(this.panel, 'hidden', isShut);
    arrange(this.panel, isShut ? [] : this.parts);
    set(this.panel, 'aria-label', this.what.textContent);
    if (deed) this.drawPanel(alert, deed, lost, sending);
    put(this.problem, this.busy && !sending ? this.busy() : '');
  }

  label(deed, sending, queued) {
    if (sending) return 'ack.sending';
    if (queued) return 'ack.queued';
    if (deed === 'acknowledge') return 'ack.choose';
    return this.list.isLost() ? 'ack.offline' : 'ack.button';
  }

  drawOthers(alert, disabled) {
    arrange(this.others, mayAct() ? deedsOf(alert).map((deed) => {
      let button = this.buttons.get(deed);
      if (!button) {
        const act = () => (FORMS[deed] ? this.open(deed) : this.send(deed, null));
        button = h('button', { 'data-do': deed, onclick: act });
        this.buttons.set(deed, button);
      }
      put(button, t(`deed.${deed}`));
      set(button, 'disabled', disabled);
      return button;
    }) : []);
  }

  drawPanel(alert, deed, lost, sending) {
    const acknowledging = deed === 'acknowledge';
    const withoutConsent = lost && !this.offline;
    // Whose it is too: on a small screen the row's head may have gone out of sight.
    const what = whatOf(alert);
    put(this.what, t(acknowledging ? 'alerts.thumb' : `deed.${deed}.what`, {
      what, device: alert.device,
    }));
    put(this.explain, t(acknowledging && lost ? 'ack.explain_offline' : `deed.${deed}.explain`));
    set(this.acknowledging, 'hidden', !acknowledging);
    set(this.consent, 'hidden', !withoutConsent);
    put(this.consent, t('ack.consent'));
    for (const name of ['placeholder', 'aria-label']) set(this.note, name, t('ack.note'));
    this.reasons.forEach((button, index) => {
      put(button, `${index + 1} ${t(`reason.${REASONS[index]}`)}`);
      set(button, 'disabled', withoutConsent || sending);
    });
    set(this.confirming, 'hidden', deed !== 'confirm');
    const { name, has_pin: hasPin } = store.user ?? {};
    put(this.passwordWords, t(`deed.confirm.${hasPin ? 'pin' : 'password'}`, { name }));
    put(this.passwordButton, t('deed.confirm.do'));
    set(this.passwordButton, 'disabled', sending);
    arrange(this.place, FORMS[deed] ? [this.form(deed).element] : []);
    if (FORMS[deed]) this.form(deed).draw(alert, lost || sending);
    put(this.cancel, t('ack.cancel'));
  }

  /** The reason that has this digit, of what is open. */
  reasonKey(digit) {
    if (this.deed === 'acknowledge' && REASONS[digit - 1]) this.acknowledge(REASONS[digit - 1]);
    else if (READY[this.deed]) this.form(this.deed).key(digit);
  }

  acknowledge(reason) {
    const body = { reason, note: this.note.value.trim() };
    if (!this.list.isLost()) {
      this.send('acknowledge', body);
      return;
    }
    if (!this.offline) return;
    const { alert } = this.row;
    this.list.queue.set(alert, body);
    this.list.offerOfflineUndo(alert);
    this.note.value = '';
    this.list.open(null);
    this.row.element.focus();
  }

  /**
   * What waited for the link is sent. The person is at something else by now: neither their focus, nor
   * what they have open, nor what they may take back is touched.
   */
  sendWaiting(body) {
    return this.send('acknowledge', body, { waited: true });
  }

  /** Tells the county; what it answers is the alert as it is now. */
  async send(deed, body, { waited = false } = {}) {
    if (this.busy === 'sending' || this.list.isLost()) return;
    this.busy = 'sending';
    const { element } = this.row;
    const { activeElement: focused } = document;
    if (!waited) this.list.hold();
    // What one pressed is shut until the county answers: the focus must not fall off the page.
    if (element.contains(focused) && !(waited && focused.matches('input, select'))) element.focus();
    this.list.draw();
    try {
      putAlert(await api.act(this.id, deed, body));
      this.done(deed, waited);
    } catch (failure) {
      this.failed(failure, deed, body, waited);
    }
    this.list.onChange();
    if (!waited && this.deed && document.activeElement === element) this.focus(this.deed);
  }

  /** Does what was asked for; what went wrong is said in the row. Whether it was done. */
  async run(change) {
    this.busy = '';
    try {
      await change();
      return true;
    } catch (failure) {
      if (failure.status === 401) this.list.onLoggedOut();
      this.busy = () => (failure.status
        ? t('deed.refused', { why: refusalText(failure) }) : t('ack.failed'));
      return false;
    } finally {
      this.list.onChange();
    }
  }

  done(deed, waited) {
    if (deed === 'acknowledge') this.list.queue.delete(this.id);
    this.busy = '';
    this.again = null;
    if (waited) return;
    this.note.value = '';
    this.forms.get(deed)?.clear();
    if (this.deed) this.list.open(null);
    if (deed === 'danger-signs' && this.offerReferral()) return;
    if (UNDOABLE.includes(deed)) this.list.offerUndo(this.row.alert, deed);
    const { activeElement: focused, body } = document;
    if (focused === body || this.row.element.contains(focused)) this.row.element.focus();
  }

  /** With a danger sign somebody is referred: what goes with them is written already. */
  offerReferral() {
    const { alert } = this.row;
    if (!alert.danger_signs?.length || !isUnacknowledged(alert)) return false;
    this.note.value = referral(alert).slice(0, NOTE_MAX);
    this.open('acknowledge');
    this.reasons[REASONS.indexOf('referred')].focus();
    return true;
  }

  failed(failure, deed, body, waited) {
    const { status, problem } = failure;
    if (status === 401) this.list.onLoggedOut();
    if (status === 404) this.list.onStrange();
    this.busy = '';
    if (status === 403 && problem.confirm) {
      this.again = { deed, body };
      if (!waited) this.open('confirm');
      // Not over what the person has open: it is asked for when that is done.
      else if (this.list.openId === null) this.list.open(this.id, 'confirm');
      return;
    }
    // What the county did not decide on stays in the queue.
    const decided = status >= 400 && status < 500 && ![401, 429].includes(status);
    const queued = decided && deed === 'acknowledge' && this.list.queue.has(this.id);
    if (queued) this.list.queue.delete(this.id);
    const over = status === 404 || (status === 409 && deed === 'acknowledge');
    if (over && this.deed) this.list.open(null);
    const by = problem.acknowledged_by || problem.by;
    this.first = by ?? null;
    const texts = {
      400: () => t('deed.refused', { why: refusalText(failure) }),
      403: () => t('ack.forbidden'),
      404: () => t('ack.gone'),
      409: () => t('deed.refused', { why: refusalText(failure) }),
      422: () => t('deed.refused', { why: refusalText(failure) }),
    };
    this.busy = texts[status] ?? (() => t('ack.failed'));
    if (queued) this.list.notSent(this.id, this.busy);
  }

  /** The person says again who they are; then what was refused is sent again. */
  async confirm() {
    this.busy = 'sending';
    this.list.draw();
    try {
      const { value } = this.password;
      await api.confirm(store.user?.has_pin ? { pin: value } : { password: value });
      this.busy = '';
      const { deed, body } = this.again;
      this.password.value = '';
      await this.send(deed, body);
      this.list.sendQueue();
      return;
    } catch (failure) {
      // After too many wrong ones the session is over.
      if (failure.status === 401) this.list.onLoggedOut();
      const wrong = [400, 403, 422].includes(failure.status);
      this.busy = () => t(wrong ? 'deed.confirm.wrong' : 'ack.failed');
      this.password.value = '';
    }
    this.list.onChange();
  }
}
