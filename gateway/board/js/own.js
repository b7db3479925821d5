// What is somebody's own: their PIN and their password, behind their name in the top bar.

import * as api from './api.js';
import { h, put, set } from './dom.js';
import { t } from './i18n.js';

const PIN = { inputmode: 'numeric', pattern: '[0-9]{4,8}', maxlength: 8, autocomplete: 'off' };
const PASSWORD = { minlength: 8, maxlength: 256, autocomplete: 'new-password' };

export class Own {
  /** `user`: who is logged in; `onLoggedOut()`: the session is over. */
  constructor(user, onLoggedOut) {
    Object.assign(this, { user, onLoggedOut });
    // A board on a wall has no person in front of it: nothing of it is anybody's own.
    const isPerson = user.role !== 'kiosk';
    this.button = isPerson ? h('button', { class: 'user', onclick: () => this.toggle() })
      : h('span', { class: 'user' });
    // The PIN stands for the password where somebody does something with an alert.
    const pin = user.may.includes('act_on_alerts') ? [this.pinForm()] : [];
    const password = new Secret('password', PASSWORD, (old, wanted) => api.setPassword(old, wanted));
    this.forms = isPerson ? [...pin, password] : [];
    for (const form of this.forms) form.onLoggedOut = onLoggedOut;
    const onkeydown = (event) => {
      if (event.key !== 'Escape') return;
      // What is open behind the panel stays.
      event.stopPropagation();
      this.close();
      this.button.focus();
    };
    this.panel = h('section', { class: 'own-panel', hidden: true, onkeydown },
      ...this.forms.map(({ element }) => element));
  }

  pinForm() {
    const change = async (password, pin) => {
      await api.setPin(password, pin);
      this.user.has_pin = pin !== null;
    };
    return new Secret('pin', PIN, change, () => this.user.has_pin);
  }

  toggle() {
    if (this.close()) return;
    set(this.panel, 'hidden', null);
    this.draw();
    this.forms[0].old.focus();
  }

  /** Whether it was open; what was typed does not stay behind it. */
  close() {
    const was = !this.panel.hidden;
    set(this.panel, 'hidden', true);
    if (was) for (const form of this.forms) form.clear();
    this.draw();
    return was;
  }

  draw() {
    put(this.button, this.user.name);
    if (!this.forms.length) return;
    set(this.button, 'aria-expanded', String(!this.panel.hidden));
    set(this.button, 'aria-label', t('own.name', { name: this.user.name }));
    if (!this.panel.hidden) for (const form of this.forms) form.draw();
  }
}

/** A form for a new PIN or password: the county wants the password that holds. */
class Secret {
  /**
   * `what`: `pin` or `password`; `rules`: of the new one; `change(password, wanted)` asks the
   * county; `isSet()`: whether there is one to take away.
   */
  constructor(what, rules, change, isSet = () => false) {
    Object.assign(this, { what, change, isSet });
    this.bad = what === 'pin' ? 'own.pin.bad' : 'password.failed.400';
    const input = (name, more) => h('input', {
      id: `own-${what}-${name}`, type: 'password', required: true, ...more,
    });
    this.old = input('old', { maxlength: 256, autocomplete: 'current-password' });
    this.first = input('first', rules);
    this.second = input('second', rules);
    this.inputs = [this.old, this.first, this.second];
    this.names = this.inputs.map(() => h('span'));
    this.heading = h('h3');
    this.explain = h('p', { class: 'quiet' });
    this.said = h('p', { class: 'own-said', role: 'status' });
    this.button = h('button', { class: 'primary' });
    this.none = h('button', { type: 'button', class: 'own-none', onclick: () => this.takeAway() });
    this.element = h('form', {
      class: 'own-form',
      'data-own': what,
      onsubmit: (event) => {
        event.preventDefault();
        this.submit();
      },
    }, this.heading, this.explain,
    h('div', { class: 'own-fields' },
      ...this.inputs.map((one, index) => h('label', {}, this.names[index], one))),
    this.said, h('div', { class: 'own-buttons' }, this.button, this.none));
    this.words = () => '';
  }

  clear() {
    this.element.reset();
    this.words = () => '';
  }

  draw() {
    const { what } = this;
    put(this.heading, t(`own.${what}`));
    put(this.explain, t(`own.${what}.explain.${this.isSet() ? 'set' : 'none'}`));
    ['own.old', `own.${what}.new`, 'password.again'].forEach((key, index) => {
      put(this.names[index], t(key));
    });
    put(this.said, this.words());
    put(this.button, t('password.button'));
    put(this.none, t('own.pin.take_away'));
    set(this.none, 'hidden', !this.isSet());
  }

  submit() {
    if (this.first.value === this.second.value) this.send(this.first.value);
    else this.say('password.differ');
  }

  /** Without a PIN the password stands for it. */
  takeAway() {
    if (this.old.reportValidity()) this.send(null);
  }

  async send(wanted) {
    const buttons = [this.button, this.none];
    for (const button of buttons) button.disabled = true;
    this.say('own.asking');
    let next = this.old;
    try {
      await this.change(this.old.value, wanted);
      this.element.reset();
      next = this.button;
      this.say(`own.${this.what}.${wanted === null ? 'taken_away' : 'done'}`);
    } catch ({ status }) {
      // After five wrong ones the session is over.
      if (status === 401) this.onLoggedOut();
      this.old.value = '';
      this.say({
        400: this.bad, 403: 'own.wrong', 422: this.bad, 429: 'own.wait',
      }[status] ?? 'password.failed.other');
    }
    for (const button of buttons) button.disabled = false;
    // Whoever does something else by now goes on with that.
    const { activeElement, body } = document;
    if (activeElement === body || this.element.contains(activeElement)) next.focus();
  }

  say(key) {
    this.words = () => t(key);
    this.draw();
  }
}
