// What began while this board was without the county: told until somebody has read it, also what is
// over by then. Folded it is one line, so that it takes no place from an alert that holds.

import * as api from './api.js';
import {
  GLYPHS, countsOf, message, since, state, where, who,
} from './alert-words.js';
import * as clock from './clock.js';
import {
  arrange, h, put, set,
} from './dom.js';
import { isShown } from './filter.js';
import { ageText } from './format.js';
import { t } from './i18n.js';
import { begunMs, compareMissed } from './order.js';
import { putAlert, store } from './store.js';

/** What is raised began so long before at most: what is sustained first, and what came late. */
const BEFORE_MS = 3_600_000;
/** What the county did not answer is asked again. */
const AGAIN_MS = 5_000;
/** That nothing began is no news for longer. */
const NONE_MS = 60_000;
/** Nobody reads more; the rest is in the lists. */
const ALERTS_MAX = 200;
const GAPS_MAX = 20;

export class Missed {
  /** `onChange()`: it must be drawn; `onLoggedOut()`. */
  constructor({ onChange, onLoggedOut }) {
    Object.assign(this, { onChange, onLoggedOut });
    this.words = h('span', { role: 'status' });
    this.more = h('button', { onclick: () => this.toggle() });
    this.seen = h('button', { onclick: () => this.read() });
    this.list = h('ol', { class: 'missed', hidden: true });
    this.element = h('div', { class: 'banner back-banner', hidden: true },
      this.words, this.more, this.seen, this.list);
    this.forget();
  }

  forget() {
    /** When it was without the county, by the county's clock. */
    this.gaps = [];
    this.alerts = new Map();
    /** Whether what is over was fetched: `loading`, `known`, `failed`. */
    this.knowledge = 'known';
    this.cut = false;
    set(this.list, 'hidden', true);
  }

  isUnread() {
    return this.alerts.size > 0;
  }

  read() {
    this.forget();
    this.onChange();
  }

  toggle() {
    set(this.list, 'hidden', !this.list.hidden);
    this.onChange();
  }

  /** The county is back, and what is open is known. */
  back(fromMs, untilMs) {
    this.gaps = [...this.gaps, { fromMs, untilMs }].slice(-GAPS_MAX);
    this.knowledge = 'loading';
    this.take([...store.alerts.values()]);
    this.fetch(this.gaps);
  }

  /** What is over by now. */
  async fetch(gaps) {
    if (gaps !== this.gaps) return;
    try {
      const fromMs = Math.min(...gaps.map((gap) => gap.fromMs)) - BEFORE_MS;
      const { alerts, truncated } = await api.closedAlerts(fromMs);
      if (gaps !== this.gaps) return;
      alerts.forEach(putAlert);
      this.cut = truncated;
      this.take(alerts);
      this.knowledge = 'known';
      if (!this.isUnread()) clock.after(NONE_MS, () => gaps === this.gaps && this.read());
    } catch (failure) {
      if (gaps !== this.gaps) return;
      if (failure.status === 401) this.onLoggedOut();
      this.knowledge = 'failed';
      clock.after(AGAIN_MS, () => this.fetch(gaps));
    }
    this.onChange();
  }

  /** Those that began meanwhile. */
  take(alerts) {
    const began = (alert) => this.gaps.some(({ fromMs, untilMs }) => (
      begunMs(alert) >= fromMs && begunMs(alert) <= untilMs));
    for (const alert of alerts.filter(began)) {
      if (this.alerts.size < ALERTS_MAX || this.alerts.has(alert.id)) this.alerts.set(alert.id, alert);
      else this.cut = true;
    }
  }

  /** As they are now: some are over meanwhile. */
  present() {
    return [...this.alerts].map(([id, alert]) => store.alerts.get(id) ?? store.closed.get(id) ?? alert)
      .filter((alert) => isShown(alert) || alert.priority === 'high').sort(compareMissed);
  }

  draw(isLost) {
    set(this.element, 'hidden', !this.gaps.length || isLost);
    if (this.element.hidden) return;
    const alerts = this.present();
    const awayMs = this.gaps.reduce((sum, gap) => sum + gap.untilMs - gap.fromMs, 0);
    put(this.words, [
      t('banner.back', { n: alerts.length, age: ageText(awayMs, t) }),
      countsOf(alerts),
      this.knowledge === 'known' ? '' : t(`missed.${this.knowledge}`),
      this.cut ? t('missed.cut') : '',
    ].filter(Boolean).join(' · '));
    const isOpen = !this.list.hidden;
    set(this.more, 'hidden', !alerts.length);
    set(this.more, 'aria-expanded', String(isOpen));
    put(this.more, t(isOpen ? 'missed.hide' : 'missed.show'));
    put(this.seen, t('missed.read'));
    // What is not there yet nobody has read.
    set(this.seen, 'hidden', this.knowledge === 'loading');
    if (!isOpen) return;
    arrange(this.list, alerts.map((alert, index) => {
      const line = this.list.children[index] || h('li');
      set(line, 'data-priority', alert.priority);
      set(line, 'data-alert-state', alert.state);
      put(line, lineOf(alert));
      return line;
    }));
  }
}

function lineOf(alert) {
  return [
    `${GLYPHS[alert.priority]} ${t(`priority.${alert.priority}`)} ${who(alert)} ${message(alert)}`,
    since(alert), state(alert), where(alert),
  ].join(' · ');
}
