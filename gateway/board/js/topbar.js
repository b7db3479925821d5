// The top bar, the banners under it, the help.

import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import {
  ageText, dateTimeSeconds, shortTime, timeSeconds,
} from './format.js';
import { t } from './i18n.js';
import { isShown } from './filter.js';
import { keep, kept } from './kept.js';
import { GLYPHS } from './alert-words.js';
import { holds, isUnacknowledged } from './order.js';
import { Own } from './own.js';
import { CLOCKS_APART_MS } from './stale.js';
import { SoundBar } from './sound-bar.js';
import { failingSinks, store } from './store.js';
import { Townships } from './townships.js';

const THEME = 'board.theme';
const KEYS = ['jk', 'enter', 'a', 's', 'e', 'u', 'f', 'g', 'm', 'l', 'calipers', 'esc', 'help', 'pending'];

export class TopBar {
  /** `sound`, `notice`: the board's; `onFilter()`: other townships are shown; the rest as they are named. */
  constructor({
    sound, notice, onFilter, onLanguage, onLogOut, onLoggedOut,
  }) {
    const span = (name) => h('span', { class: name });
    [this.title, this.link, this.day, this.hour] = ['title', 'link', 'day', 'hour'].map(span);
    this.own = new Own(store.user, onLoggedOut);
    // What `3/5` says is told at a press: a finger has nothing to hover with.
    this.counters = h('button', { class: 'counters', onclick: () => this.toggleCounts() });
    this.townships = new Townships(onFilter);
    this.sound = new SoundBar(sound, notice);
    this.counts = ['high', 'medium', 'low'].map((priority) => h('span', {
      class: 'count', 'data-priority': priority,
    }));
    this.counters.append(...this.counts);
    this.language = h('button', { onclick: onLanguage });
    this.theme = h('button', { onclick: () => this.nextTheme() });
    this.helpButton = h('button', { class: 'keys', onclick: () => this.toggleHelp() });
    this.logOut = h('button', { onclick: onLogOut });
    this.help = h('section', { class: 'help', hidden: true });
    this.explained = h('div', { class: 'counts', role: 'status', hidden: true });
    const names = ['link-banner', 'broker-banner', 'disk-banner', 'clock-banner', 'sink-banner'];
    this.banners = names.map((name) => h('div', {
      class: `banner ${name}`, role: 'status', hidden: true,
    }));
    this.bar = h('header', { class: 'topbar', 'data-sound': 'off', 'data-link': 'live' },
      this.title, this.townships.button,
      // On a phone this stays in sight while the rest scrolls away.
      h('div', { class: 'stay' }, this.counters, this.townships.others, this.sound.button, this.link,
        this.explained),
      h('span', { class: 'time' }, this.day, ' ', this.hour), this.own.button,
      h('span', { class: 'tools' }, this.language, this.theme, this.helpButton, this.logOut));
    this.element = h('div', { class: 'top' }, this.bar, this.sound.gate, this.townships.panel,
      this.sound.panel, this.own.panel, ...this.banners, this.help);
    applyTheme();
  }

  nextTheme() {
    const next = document.documentElement.dataset.theme === 'night' ? 'day' : 'night';
    keep(THEME, next);
    applyTheme();
  }

  toggleHelp() {
    set(this.help, 'hidden', !this.help.hidden);
  }

  toggleCounts() {
    set(this.explained, 'hidden', !this.explained.hidden);
    set(this.counters, 'aria-expanded', String(!this.explained.hidden));
  }

  /** `Esc`; whether there was something to close. */
  escape() {
    const open = [this.townships.panel, this.sound.panel, this.help, this.explained].filter((one) => !one.hidden);
    for (const one of open) set(one, 'hidden', true);
    return this.own.close() || open.length > 0;
  }

  draw(events) {
    const link = events.state();
    set(this.bar, 'data-link', link);
    set(document.body, 'data-link', link);
    put(this.title, t('title'));
    const alerts = [...store.alerts.values()].filter(isShown);
    const unknown = events.knowledge() !== 'known' && !alerts.length;
    const told = this.counts.map((element) => {
      const { priority } = element.dataset;
      const own = alerts.filter((alert) => alert.priority === priority);
      const open = own.filter(isUnacknowledged).length;
      const holding = own.filter(holds);
      const active = holding.length;
      // What is shelved holds all the same: it is counted, and called so.
      const shelved = holding.filter(({ state }) => state === 'shelved');
      const count = unknown ? '–' : `${open}/${active}`;
      const name = t(`priority.${priority}`);
      put(element, [
        GLYPHS[priority], name, count, shelved.length ? t('top.shelved', { n: shelved.length }) : '',
      ].filter(Boolean).join(' '));
      set(element, 'data-none', open || active ? null : 'true');
      return t('top.count', {
        priority: name, open: unknown ? '–' : open, active: unknown ? '–' : active,
      }) + (shelved.length ? t('top.count_shelved', {
        n: shelved.length, until: firstEnd(shelved),
      }) : '');
    });
    lines(this.explained, told);
    set(this.counters, 'aria-label', told.join('; '));
    const loading = link === 'live' && events.knowledge() !== 'known';
    const age = ageText(events.oldMs(), t);
    put(this.link, t(loading ? 'top.link.loading' : `top.link.${link}`, { age }));
    set(this.bar, 'data-sound', this.sound.draw());
    this.townships.draw();
    const [day, hour] = dateTimeSeconds(clock.serverNow()).split(' ');
    put(this.day, day);
    put(this.hour, t('top.time', { at: hour }));
    this.own.draw();
    put(this.language, t('language.other'));
    put(this.theme, t(`top.theme.${document.documentElement.dataset.theme}`));
    put(this.helpButton, t('top.help'));
    put(this.logOut, t('top.log_out'));
    this.drawBanners(events, link);
    lines(this.help, KEYS.map((key) => t(`help.${key}`)));
  }

  drawBanners(events, link) {
    const [linkBanner, brokerBanner, diskBanner, clockBanner, sinkBanner] = this.banners;
    set(linkBanner, 'hidden', link === 'live');
    set(linkBanner, 'data-link', link);
    const at = timeSeconds(clock.serverNow() - events.oldMs());
    const unread = link === 'slow' && events.knowledge() === 'failed';
    if (link !== 'live') put(linkBanner, t(unread ? 'banner.unread' : `banner.${link}`, { at }));
    set(this.bar, 'data-broker', store.brokerUp ? 'up' : 'down');
    set(brokerBanner, 'hidden', store.brokerUp);
    if (!store.brokerUp) put(brokerBanner, t('banner.broker'));
    const { state: disk, free_mib: free } = store.disk;
    set(diskBanner, 'hidden', disk === 'good');
    set(diskBanner, 'data-disk', disk);
    if (disk !== 'good') put(diskBanner, t(`banner.disk_${disk}`, { free: free ?? '–' }));
    const apart = Math.abs(clock.offset());
    set(clockBanner, 'hidden', apart <= CLOCKS_APART_MS);
    if (apart > CLOCKS_APART_MS) put(clockBanner, t('banner.clock', { age: ageText(apart, t) }));
    const sinks = failingSinks();
    set(sinkBanner, 'hidden', sinks.length === 0);
    if (sinks.length) put(sinkBanner, t('banner.sink', { sinks: sinks.join(', ') }));
  }
}

/** When the first of them comes off the shelf. */
function firstEnd(shelved) {
  const ends = shelved.filter(({ shelved_until: until }) => until)
    .map(({ shelved_until: until }) => Date.parse(until));
  return ends.length ? shortTime(Math.min(...ends), clock.serverNow()) : '–';
}

/** Makes an element of these texts, one below the other. */
function lines(element, texts) {
  arrange(element, texts.map((text, index) => {
    const line = element.children[index] || h('p');
    put(line, text);
    return line;
  }));
}

/** Night unless the person or the system asks for day. */
export function applyTheme() {
  const day = window.matchMedia('(prefers-color-scheme: light)').matches;
  document.documentElement.dataset.theme = kept(THEME) || (day ? 'day' : 'night');
}
