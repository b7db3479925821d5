// Putting a device on a patient, and taking it off: two clicks, and ten seconds to take it back.
// Nobody is ever chosen for it.

import * as api from './api.js';
import { arrange, h, put, set } from './dom.js';
import { t } from './i18n.js';
import { candidates, whose } from './mover.js';
import { deviceKey, may, store } from './store.js';

export class Binder {
  /** `undo`: the bar; `run(change)`: does it and tells what went wrong; whether it was done. */
  constructor({ undo, run }) {
    Object.assign(this, { undo, run });
    this.isOpen = false;
    this.button = h('button', { class: 'bind', hidden: true, onclick: () => this.toggle() });
    this.explain = h('p', { class: 'quiet' });
    this.buttons = h('div', { class: 'choice', role: 'group' });
    this.choice = h('div', { class: 'choice', hidden: true }, this.explain, this.buttons);
  }

  /** What can be chosen is what was there at the click: nothing moves under the finger. */
  toggle() {
    this.isOpen = !this.isOpen;
    const binding = this.binding();
    this.chosen = {
      id: binding?.id,
      keys: binding ? [null] : candidates(this.place).map(({ patient }) => patient),
    };
    this.draw(this.device, this.place);
  }

  binding() {
    return store.bindings.get(deviceKey(this.device));
  }

  draw(device, place) {
    Object.assign(this, { device, place });
    const binding = this.binding();
    // Somebody else has put it on or taken it off: what was asked is asked no more.
    if (this.isOpen && this.chosen.id !== binding?.id) this.isOpen = false;
    // One that stands at a bed without a patient was put there by another system.
    const possible = binding ? binding.patient && may('care_for_patients') : may('write_patients');
    if (!possible) this.isOpen = false;
    set(this.button, 'hidden', !possible);
    set(this.choice, 'hidden', !this.isOpen);
    set(this.choice, 'data-open', this.isOpen ? 'true' : null);
    put(this.button, t(binding ? 'bind.off' : 'bind.on'));
    set(this.button, 'aria-expanded', String(this.isOpen));
    if (!this.isOpen) return;
    put(this.explain, t(binding ? 'bind.off.explain' : 'bind.on.explain'));
    set(this.buttons, 'aria-label', this.explain.textContent);
    arrange(this.buttons, this.chosen.keys.map((patient, index) => {
      const key = patient ?? binding.id;
      let button = this.buttons.children[index];
      if (!button || button.key !== key) {
        const act = patient === null ? () => this.takeOff(binding) : () => this.putOn(patient);
        button = Object.assign(h('button', { onclick: act }), { key });
      }
      set(button, 'data-patient', patient ?? '');
      put(button, patient === null ? t('bind.off.do', { who: whose(binding.patient) }) : whose(patient));
      return button;
    }));
  }

  async putOn(patient) {
    const { device } = this;
    let made = null;
    if (!await this.do(async () => {
      made = await api.bind(device, patient);
    })) return;
    this.undo.offer(() => t('bind.done', { device: device.device, who: whose(patient) }),
      () => api.unbind(made));
  }

  async takeOff(binding) {
    if (!await this.do(() => api.unbind(binding))) return;
    const { device, patient } = binding;
    this.undo.offer(() => t('bind.off.done', { device, who: whose(patient) }),
      () => api.bind(binding, patient));
  }

  do(change) {
    this.isOpen = false;
    this.draw(this.device, this.place);
    return this.run(change);
  }
}
