// Ten seconds to take back what one just did, whatever it was: the only such bar of the page.

import * as clock from './clock.js';
import { h, put, set } from './dom.js';
import { t } from './i18n.js';

const OFFERED_MS = 10_000;

export class UndoBar {
  constructor() {
    this.last = null;
    this.words = h('span');
    this.button = h('button', { onclick: () => this.take() });
    this.element = h('div', { class: 'undo', role: 'status', hidden: true }, this.words, this.button);
  }

  /** `words()` say what was done; `takeBack()` takes it back at the county. */
  offer(words, takeBack) {
    this.last = { words, takeBack, until: clock.now() + OFFERED_MS };
    this.tick(this.last);
  }

  /** It is over: what was offered is for who did it. */
  clear() {
    this.last = null;
    this.draw();
  }

  tick(last) {
    if (this.last !== last) return;
    if (clock.now() >= last.until && !last.busy) this.last = null;
    else clock.after(1_000, () => this.tick(last));
    this.draw();
  }

  draw() {
    set(this.element, 'hidden', !this.last);
    if (!this.last) return;
    const {
      words, until, failed, busy,
    } = this.last;
    set(this.button, 'disabled', busy ? true : null);
    put(this.words, failed ? t('undo.failed', { what: words() }) : words());
    put(this.button, t('undo.do', { s: Math.max(0, Math.ceil((until - clock.now()) / 1000)) }));
  }

  async take() {
    const { last } = this;
    last.busy = true;
    this.draw();
    try {
      await last.takeBack();
      if (this.last === last) this.last = null;
    } catch (failure) {
      // It is not taken back: that is said for as long as the offer was, and can be tried again.
      Object.assign(last, { failed: true, until: clock.now() + OFFERED_MS });
    }
    last.busy = false;
    this.draw();
  }
}
