// A session ends with its shift, whoever uses the board by then: said half an hour before, and whoever
// is logged in goes on by their password, without leaving the board.

import * as api from './api.js';
import * as clock from './clock.js';
import { h, put, set } from './dom.js';
import { ageText, countdown } from './format.js';
import { t } from './i18n.js';
import { store } from './store.js';

const MINUTE_MS = 60_000;
const TOLD_MS = 30 * MINUTE_MS;
/** A screen reader says it at the begin and when no more than this is left, not each second. */
const SAID_MS = [MINUTE_MS, 5 * MINUTE_MS, 10 * MINUTE_MS, TOLD_MS];
/** What ends this near to its time has ended by it. */
const NEAR_MS = 60_000;

/** When the session ends, in milliseconds from now; of a wall and of who is not logged in never. */
function leftMs() {
  const { ends_at: at } = store.user ?? {};
  return at ? Date.parse(at) - clock.serverNow() : Infinity;
}

/** Why the county knows the session no more. */
export function whyEnded() {
  return leftMs() < NEAR_MS ? 'expired' : 'ended';
}

export class SessionEnd {
  /** `onLoggedOut()`: the password is one that somebody gave them. */
  constructor({ onLoggedOut }) {
    this.onLoggedOut = onLoggedOut;
    this.words = h('span');
    this.said = h('div', { class: 'unseen', role: 'status' });
    this.saidMs = null;
    this.name = h('label', { for: 'session-password' });
    this.password = h('input', {
      id: 'session-password', type: 'password', autocomplete: 'current-password', required: true,
    });
    this.button = h('button');
    this.problem = h('span', { role: 'alert' });
    this.form = h('form', {
      class: 'banner session-banner', hidden: true, onsubmit: (event) => this.submit(event),
    }, this.words, this.name, this.password, this.button, this.problem);
    this.element = h('div', {}, this.form, this.said);
  }

  /** Also once a second. */
  draw() {
    const left = leftMs();
    const isNear = left <= TOLD_MS;
    set(this.form, 'hidden', !isNear);
    this.say(left);
    if (!isNear) {
      this.password.value = '';
      put(this.problem, '');
      return;
    }
    put(this.words, t('session.ends', { left: countdown(Math.max(0, left)) }));
    put(this.name, t('session.password', { name: store.user.name }));
    put(this.button, t('session.go_on'));
  }

  say(left) {
    const saidMs = SAID_MS.find((ms) => left <= ms) ?? null;
    if (saidMs === this.saidMs) return;
    this.saidMs = saidMs;
    const minutes = Math.max(1, Math.ceil(left / MINUTE_MS)) * MINUTE_MS;
    put(this.said, saidMs === null ? '' : t('session.ends', { left: ageText(minutes, t, true) }));
  }

  async submit(event) {
    event.preventDefault();
    this.button.disabled = true;
    put(this.problem, '');
    try {
      const user = await api.logIn(store.user.name, this.password.value);
      if (user.must_set_password) this.onLoggedOut();
      else if (store.user) Object.assign(store.user, user);
    } catch (failure) {
      put(this.problem, t(`login.failed.${[401, 429].includes(failure.status) ? failure.status : 'other'}`));
    }
    this.password.value = '';
    this.button.disabled = false;
    this.draw();
  }
}
