// What waits for the link, whose it is, and what could not be sent: above the alerts.

import { arrange, h, put, set } from './dom.js';
import { t } from './i18n.js';
import { waitingOfOthers } from './offline.js';

const TOLD_MAX = 20;

export class OfflineNote {
  constructor(queue) {
    this.queue = queue;
    this.unsent = [];
    this.others = 0;
    this.lines = h('div');
    this.button = h('button', {
      onclick: () => {
        this.unsent = [];
        this.draw();
      },
    });
    this.element = h('div', { class: 'offline-note', role: 'status', hidden: true },
      this.lines, this.button);
    this.count();
  }

  /** Others may have left something on this computer. */
  count() {
    this.others = waitingOfOthers(this.queue.person);
  }

  /** `words()` say what was not sent, and why: it stays until somebody has read it. */
  tell(words) {
    this.unsent = [...this.unsent, words].slice(-TOLD_MAX);
  }

  draw() {
    const { queue, others, unsent } = this;
    const texts = [
      queue.size ? t(queue.isKept ? 'offline.waiting' : 'offline.unkept', { n: queue.size }) : '',
      others ? t('offline.others', { n: others }) : '',
      ...unsent.map((words) => words()),
    ].filter(Boolean);
    set(this.element, 'hidden', !texts.length);
    set(this.element, 'data-unsent', unsent.length ? 'true' : null);
    set(this.button, 'hidden', !unsent.length);
    put(this.button, t('offline.read'));
    arrange(this.lines, texts.map((text, index) => {
      const line = this.lines.children[index] || h('p');
      put(line, text);
      return line;
    }));
  }
}
