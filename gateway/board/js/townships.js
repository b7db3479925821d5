// The filter of townships: its chip, what one can choose, and what is left out and waits.

import { arrange, h, put, set } from './dom.js';
import {
  isShown, showTowns, shownTowns, townOf,
} from './filter.js';
import { t } from './i18n.js';
import { isUnacknowledged } from './order.js';
import { store } from './store.js';

export class Townships {
  constructor(onChange) {
    this.onChange = onChange;
    this.button = h('button', { class: 'townships', onclick: () => this.toggle() });
    this.others = h('button', { class: 'others', onclick: () => this.choose([]) });
    this.all = h('button', { onclick: () => this.choose([]) });
    this.choices = h('div', { class: 'choices' });
    this.boxes = new Map();
    this.panel = h('section', { class: 'townships-panel', hidden: true }, this.all, this.choices);
  }

  toggle() {
    set(this.panel, 'hidden', !this.panel.hidden);
    if (!this.panel.hidden) this.all.focus();
  }

  choose(towns) {
    showTowns(towns);
    this.onChange();
  }

  draw() {
    const shown = shownTowns();
    put(this.button, shown.length ? t('filter.some', { towns: shown.join(', ') }) : t('filter.all'));
    set(this.button, 'data-filtered', shown.length ? 'true' : null);
    set(this.button, 'aria-expanded', String(!this.panel.hidden));
    this.drawOthers();
    put(this.all, t('filter.show_all'));
    const towns = [...new Set([...store.sites.values()].map(townOf).concat(shown))].sort();
    arrange(this.choices, towns.map((town) => this.choice(town, shown.includes(town))));
    for (const town of this.boxes.keys()) if (!towns.includes(town)) this.boxes.delete(town);
  }

  choice(town, chosen) {
    let choice = this.boxes.get(town);
    if (!choice) {
      const box = h('input', {
        type: 'checkbox',
        onchange: () => {
          const rest = shownTowns().filter((one) => one !== town);
          this.choose(box.checked ? [...rest, town] : rest);
        },
      });
      choice = { box, element: h('label', { class: 'choice', 'data-town': town }, box, town) };
      this.boxes.set(town, choice);
    }
    choice.box.checked = chosen;
    return choice.element;
  }

  /** What waits where nobody looks: pressing it shows everything. */
  drawOthers() {
    const hidden = [...store.alerts.values()]
      .filter((alert) => !isShown(alert) && isUnacknowledged(alert));
    const counts = ['high', 'medium'].map((priority) => (
      [priority, hidden.filter((alert) => alert.priority === priority).length]));
    const words = counts.filter(([, n]) => n).map(([priority, n]) => `${t(`priority.${priority}`)} ${n}`);
    set(this.others, 'hidden', !words.length);
    set(this.others, 'data-priority', counts[0][1] ? 'high' : 'medium');
    if (words.length) put(this.others, t('filter.others', { counts: words.join(' ') }));
  }
}
