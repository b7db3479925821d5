// How large this screen is: a bank card is held to it.

import { h, put, set } from './dom.js';
import { t } from './i18n.js';
import { pxPerMmOf } from './strip-layout.js';
import { calibrate, paper } from './strip-settings.js';

const CARD_MM = 85.6;

export class Ruler {
  /** `onChange()`: the screen has another size now. */
  constructor(onChange) {
    this.onChange = onChange;
    this.button = h('button', { onclick: () => this.toggle() });
    this.explain = h('p');
    this.card = h('div', { class: 'card' });
    this.slider = h('input', {
      type: 'range', min: '180', max: '1000', oninput: () => this.size(),
    });
    this.narrow = h('p', { class: 'problem', role: 'status' });
    this.done = h('button', { class: 'primary', onclick: () => this.take() });
    this.element = h('div', { class: 'ruler', hidden: true },
      this.explain, this.card, this.slider, this.narrow, this.done);
  }

  toggle() {
    set(this.element, 'hidden', !this.element.hidden);
    this.slider.value = String(Math.round(paper().pxPerMm * CARD_MM));
    this.size();
  }

  /** The box as wide as is wanted; how wide it is, `null` where it has no room for that. */
  size() {
    this.card.style.width = `${this.slider.value}px`;
    const { width } = this.card.getBoundingClientRect();
    const fits = Math.abs(width - Number(this.slider.value)) < 1;
    put(this.narrow, fits ? '' : t('ruler.narrow'));
    return fits ? width : null;
  }

  take() {
    const px = this.size();
    const pxPerMm = px && pxPerMmOf(px);
    if (!pxPerMm) return;
    calibrate(pxPerMm);
    set(this.element, 'hidden', true);
    this.onChange();
  }

  draw() {
    put(this.button, t('ruler.button'));
    put(this.explain, t('ruler.explain'));
    put(this.done, t('ruler.done'));
    set(this.slider, 'aria-label', t('ruler.explain'));
  }
}
