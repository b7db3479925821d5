// Ten seconds to take back what one just did.

import * as api from './api.js';
import { message } from './alert-words.js';
import * as clock from './clock.js';
import { h, put, set } from './dom.js';
import { t } from './i18n.js';
import { putAlert } from './store.js';

const OFFERED_MS = 10_000;

export class UndoBar {
  constructor(onChange) {
    this.onChange = onChange;
    this.last = null;
    this.problem = false;
    this.words = h('span');
    this.button = h('button', { onclick: () => this.take() });
    this.element = h('div', { class: 'undo', role: 'status', hidden: true }, this.words, this.button);
  }

  /** Somebody did that with an alert. */
  offer(alert, deed) {
    this.last = { alert, deed, until: clock.now() + OFFERED_MS };
    this.problem = false;
  }

  draw() {
    const leftMs = this.last ? this.last.until - clock.now() : 0;
    set(this.element, 'hidden', leftMs <= 0);
    if (leftMs <= 0) return;
    const key = this.problem ? 'undo.failed' : `undo.${this.last.deed}`;
    put(this.words, t(key, { what: message(this.last.alert) }));
    put(this.button, t('undo.do', { s: Math.ceil(leftMs / 1000) }));
  }

  async take() {
    const { alert } = this.last;
    try {
      putAlert(await api.act(alert.id, 'undo', null));
      this.last = null;
    } catch (failure) {
      this.problem = true;
    }
    this.onChange();
  }
}
