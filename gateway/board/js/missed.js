// What began while this board was without the county: told until somebody has read it, also what is
// over by then, and over a log-out and a reload. Folded it is one line, so that it takes no place
// from an alert that holds.
//
// The browser keeps when that was and nothing else: no alert, no name.

import * as api from './api.js';
import { SHIFT_MS } from './alert-sections.js';
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
import { keep, kept } from './kept.js';
import { beginningsOf, compareMissed } from './order.js';
import { putAlert, store } from './store.js';

/** What is over is asked for by when it first began: it may have come again or risen a shift later. */
const BEFORE_MS = SHIFT_MS;
/** What the county did not answer is asked again. */
const AGAIN_MS = 5_000;
/** A link that is too thin for it must not be full of it. */
const AGAIN_MAX_MS = 10 * 60_000;
/** That nothing began is no news for longer. */
const NONE_MS = 60_000;
/** Nobody reads more; the rest is in the lists. */
const ALERTS_MAX = 200;
const GAPS_MAX = 20;
const KEPT = 'board.missed';
/** What nobody has read for a week is told nobody any more. */
const KEPT_MS = 7 * 24 * 3_600_000;
/** Nobody is to do anything about these. */
const ASIDE = ['suppressed', 'out_of_service'];

export class Missed {
  /** `onChange()`: it must be drawn; `onRead()`: somebody has read it; `onLoggedOut()`. */
  constructor({ onChange, onRead, onLoggedOut }) {
    Object.assign(this, { onChange, onRead, onLoggedOut });
    this.words = h('span', { role: 'status' });
    this.more = h('button', { onclick: () => this.toggle() });
    this.seen = h('button', {
      onclick: () => {
        this.read();
        this.onRead();
      },
    });
    this.list = h('ol', { class: 'missed', tabindex: '0', hidden: true });
    this.element = h('div', { class: 'banner back-banner', hidden: true },
      this.words, this.more, this.seen, this.list);
    this.forget();
    /** Since when it is without the county, by the page's clock; `null` while it is not. */
    this.lostAt = null;
    this.takeUp();
  }

  /** What nobody has read yet. */
  takeUp() {
    const { lostAt, gaps } = keptGaps();
    if (clock.now() - lostAt < KEPT_MS) this.lostAt = lostAt;
    const unread = gaps.filter(({ untilMs }) => clock.serverNow() - untilMs < KEPT_MS);
    if (!unread.length) return;
    this.gaps = unread;
    this.knowledge = 'loading';
  }

  forget() {
    /** When it was without the county, by the county's clock. */
    this.gaps = [];
    /** Those for which what is over was asked for. */
    this.asked = this.gaps;
    this.alerts = new Map();
    /** Whether what is over was fetched: `loading`, `known`, `failed`. */
    this.knowledge = 'known';
    this.cut = false;
    set(this.list, 'hidden', true);
  }

  isUnread() {
    return this.present().length > 0;
  }

  read() {
    this.forget();
    this.keep();
    this.onChange();
  }

  toggle() {
    set(this.list, 'hidden', !this.list.hidden);
    this.onChange();
  }

  keep() {
    keep(KEPT, JSON.stringify({ lostAt: this.lostAt, gaps: this.gaps }));
  }

  /** Nothing was heard of the county for so long. */
  lost(silentMs) {
    if (this.lostAt !== null) return;
    this.lostAt = clock.now() - silentMs;
    this.keep();
  }

  /** The county is there, and what is open is known. */
  back() {
    if (this.lostAt !== null) {
      const untilMs = clock.serverNow();
      // By its clock as it is now: it may have been set meanwhile.
      const fromMs = untilMs - Math.max(0, clock.now() - this.lostAt);
      this.gaps = joined([...this.gaps, { fromMs, untilMs }]);
      this.lostAt = null;
      this.keep();
    } else if (this.asked === this.gaps) return;
    this.knowledge = 'loading';
    this.take([...store.alerts.values()]);
    this.againMs = AGAIN_MS;
    this.fetch(this.gaps);
  }

  /** What is over by now. */
  async fetch(gaps) {
    if (gaps !== this.gaps) return;
    this.asked = gaps;
    try {
      const fromMs = Math.min(...gaps.map((gap) => gap.fromMs)) - BEFORE_MS;
      const { alerts, truncated } = await api.closedAlerts(fromMs);
      if (gaps !== this.gaps) return;
      alerts.forEach(putAlert);
      this.cut = this.cut || truncated;
      this.take(alerts);
      this.knowledge = 'known';
      clock.after(NONE_MS, () => gaps === this.gaps && !this.isUnread() && this.read());
    } catch (failure) {
      if (gaps !== this.gaps) return;
      if (failure.status === 401) this.onLoggedOut();
      this.knowledge = 'failed';
      clock.after(this.againMs, () => this.fetch(gaps));
      this.againMs = Math.min(2 * this.againMs, AGAIN_MAX_MS);
    }
    this.onChange();
  }

  /** Those that began meanwhile: of more than anybody reads the more urgent. */
  take(alerts) {
    const isWithin = (ms) => this.gaps.some(({ fromMs, untilMs }) => ms >= fromMs && ms <= untilMs);
    const began = alerts.filter((alert) => beginningsOf(alert).some(isWithin));
    const all = new Map([...this.alerts, ...began.map((alert) => [alert.id, alert])]);
    this.cut = this.cut || all.size > ALERTS_MAX;
    this.alerts = new Map([...all].sort(([, a], [, b]) => compareMissed(a, b)).slice(0, ALERTS_MAX));
  }

  /** As they are now; of townships that are not shown what the top bar counts, too. */
  present() {
    return [...this.alerts.values()].map(asItIs)
      .filter((alert) => !ASIDE.includes(alert.state))
      .filter((alert) => isShown(alert) || alert.priority !== 'low').sort(compareMissed);
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
    set(this.list, 'aria-label', t('missed.list'));
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

/** When this browser was without the county, as far as nobody has read what began then. */
function keptGaps() {
  try {
    const { lostAt, gaps } = JSON.parse(kept(KEPT));
    return { lostAt, gaps: gaps.slice(-GAPS_MAX) };
  } catch (error) {
    return { lostAt: null, gaps: [] };
  }
}

/** What is not open any more, where the county tells all that is, is over. */
function asItIs(alert) {
  const now = store.alerts.get(alert.id) ?? store.closed.get(alert.id);
  return now ?? (store.truncated ? alert : { ...alert, state: 'closed' });
}

function lineOf(alert) {
  return [
    `${GLYPHS[alert.priority]} ${t(`priority.${alert.priority}`)} ${who(alert)} ${message(alert)}`,
    since(alert), state(alert), isShown(alert) ? '' : t('missed.elsewhere'), where(alert),
  ].filter(Boolean).join(' · ');
}

/** Of more gaps than are kept the nearest two are one: what began in between is listed too. */
export function joined(gaps) {
  if (gaps.length <= GAPS_MAX) return gaps;
  const apart = gaps.slice(1).map(({ fromMs }, index) => fromMs - gaps[index].untilMs);
  const at = apart.indexOf(Math.min(...apart));
  const one = { fromMs: gaps[at].fromMs, untilMs: gaps[at + 1].untilMs };
  return [...gaps.slice(0, at), one, ...gaps.slice(at + 2)];
}
