// How large this screen is: a bank card is held to it.

import { h, put, set } from './dom.js';
import { t } from './i18n.js';
import { pxPerMmOf } from './strip-layout.js';
import { choose, paper } from './strip-settings.js';

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
    this.done = h('button', { class: 'primary', onclick: () => this.take() });
    this.element = h('div', { class: 'ruler', hidden: true },
      this.explain, this.card, this.slider, this.done);
  }

  toggle() {
    set(this.element, 'hidden', !this.element.hidden);
    this.slider.value = String(Math.round(paper().pxPerMm * CARD_MM));
    this.size();
  }

  size() {
    this.card.style.width = `${this.slider.value}px`;
  }

  take() {
    const pxPerMm = pxPerMmOf(Number(this.slider.value));
    if (pxPerMm) choose({ pxPerMm });
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
