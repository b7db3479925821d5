// A device that somebody took off: who and since when, and the button that puts it back.

import * as api from './api.js';
import * as clock from './clock.js';
import { h, put, set } from './dom.js';
import { shortTime } from './format.js';
import { t } from './i18n.js';
import { may, putDevice, store } from './store.js';

/** `停用 · wang · 10:32 起`; empty while a device is in service. */
export function offText({ out_of_service: out }) {
  const nowMs = clock.serverNow();
  if (!out || (out.until && Date.parse(out.until) <= nowMs)) return '';
  return t('device.off', { by: out.by, at: shortTime(Date.parse(out.at), nowMs) });
}

export class PutBack {
  /** `run(change)`: does it and tells what went wrong; whether it was done. */
  constructor({ run }) {
    this.run = run;
    this.asks = false;
    this.button = h('button', { class: 'put-back', hidden: true, onclick: () => this.send() });
    this.proof = h('input', { type: 'password', autocomplete: 'current-password' });
    this.words = h('span');
    this.sure = h('button', { class: 'primary' });
    this.form = h('form', {
      class: 'deed',
      hidden: true,
      onsubmit: (event) => {
        event.preventDefault();
        this.confirm();
      },
    }, h('label', {}, this.words, this.proof), this.sure);
  }

  draw(device, lost) {
    this.device = device;
    const possible = may('act_on_alerts') && Boolean(offText(device));
    if (!possible) this.asks = false;
    set(this.button, 'hidden', !possible);
    set(this.button, 'disabled', lost);
    put(this.button, t('deed.in-service'));
    set(this.form, 'hidden', !this.asks);
    const { name, has_pin: hasPin } = store.user ?? {};
    put(this.words, t(`deed.confirm.${hasPin ? 'pin' : 'password'}`, { name }));
    put(this.sure, t('deed.confirm.do'));
    set(this.sure, 'disabled', lost);
  }

  send() {
    return this.run(async () => {
      try {
        putDevice(await api.putBack(this.device));
        this.asks = false;
      } catch (failure) {
        // The person is asked first whether it is still them.
        if (failure.status !== 403 || !failure.problem?.confirm) throw failure;
        this.asks = true;
      }
    });
  }

  async confirm() {
    const { value } = this.proof;
    this.proof.value = '';
    const proof = store.user?.has_pin ? { pin: value } : { password: value };
    if (await this.run(() => api.confirm(proof))) await this.send();
  }
}
