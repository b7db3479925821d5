// What nurses see and no device measures: consciousness and oxygen.

import * as api from './api.js';
import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { shortTime } from './format.js';
import { t } from './i18n.js';
import { may } from './store.js';

const CONSCIOUSNESS = ['A', 'C', 'V', 'P', 'U'];
const SHOWN_MAX = 8;

export class Entries {
  /** `onChange(change)` runs a change and shows what it made of things; whether it was done. */
  constructor({ onChange }) {
    this.onChange = onChange;
    this.whole = null;
    this.heading = h('h3');
    this.buttons = [
      ...CONSCIOUSNESS.map((letter) => [letter, { consciousness: letter }]),
      ['oxygen', { oxygen: true }], ['air', { oxygen: false }],
    ].map(([name, entry]) => {
      const button = h('button', { 'data-entry': name, onclick: () => this.enter(entry) });
      return { name, button };
    });
    this.choice = h('div', { class: 'choice', role: 'group' },
      ...this.buttons.map(({ button }) => button));
    this.list = h('ol', { class: 'entries' });
    this.limb = h('input', { type: 'checkbox', 'data-limb': true, onchange: () => this.setLimb() });
    this.limbWords = h('span');
    this.limbLabel = h('label', { class: 'limb' }, this.limb, this.limbWords);
    this.element = h('section', { class: 'drawer-entries' },
      this.heading, this.choice, this.limbLabel, this.list);
  }

  clear() {
    this.whole = null;
    this.list.replaceChildren();
  }

  show(whole) {
    this.whole = whole;
  }

  /** A cuff on another limb takes no pulse away from the oximeter. */
  async setLimb() {
    set(this.limb, 'disabled', true);
    const fields = { cuff_on_other_limb: this.limb.checked };
    await this.onChange(() => api.change(this.whole, fields));
    // What the county did not take is not so.
    if (this.whole) this.limb.checked = this.whole.cuff_on_other_limb;
    set(this.limb, 'disabled', !may('care_for_patients'));
  }

  enter(entry) {
    return this.onChange(() => api.enter(this.whole.patient, entry));
  }

  draw() {
    set(this.element, 'hidden', !this.whole);
    if (!this.whole) return;
    put(this.heading, t('entries.heading'));
    for (const { name, button } of this.buttons) put(button, t(`entries.${name}`));
    set(this.choice, 'hidden', !may('care_for_patients'));
    set(this.choice, 'aria-label', t('entries.heading'));
    put(this.limbWords, t('entries.other_limb'));
    if (this.limb !== document.activeElement) this.limb.checked = this.whole.cuff_on_other_limb;
    set(this.limb, 'disabled', !may('care_for_patients'));
    arrange(this.list, this.whole.entries.slice(0, SHOWN_MAX).map((entry, index) => {
      const line = this.list.children[index] || h('li');
      put(line, [
        shortTime(Date.parse(entry.taken_at), clock.serverNow()),
        entry.consciousness ? t(`entries.${entry.consciousness}`) : '',
        entry.oxygen === null ? '' : t(entry.oxygen ? 'entries.oxygen' : 'entries.air'),
        entry.made_by,
      ].filter(Boolean).join(' · '));
      return line;
    }));
  }
}
