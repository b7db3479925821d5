// The pages beside the board: one at a time below the top bar, named by the address (`#tray`).

import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { t } from './i18n.js';
import { AuditPage } from './pages/audit.js';
import { DevicesPage } from './pages/devices.js';
import { DutyPage } from './pages/duty.js';
import { FiguresPage } from './pages/figures.js';
import { FollowUpPage } from './pages/follow-up.js';
import { HandoverPage } from './pages/handover.js';
import { PeoplePage } from './pages/people.js';
import { RulesPage } from './pages/rules.js';
import { TrayPage } from './pages/tray.js';
import { UpkeepPage } from './pages/upkeep.js';

/** In the order of the day: what a nurse does first comes first; an administrator has the first. */
const PAGES = [
  UpkeepPage, TrayPage, FollowUpPage, HandoverPage, DevicesPage, DutyPage, FiguresPage, RulesPage, PeoplePage,
  AuditPage,
];
/** What is open asks again this often. */
const REFRESH_MS = 30_000;

/** The page that an address names, or nothing. */
export function pageOf(hash, pages) {
  const name = hash.replace(/^#/, '').split(/[/?=&]/)[0];
  return pages.find((page) => page.key === name) || null;
}

export class Pages {
  /** `user`: who asks; `undo`: the bar; `onTurn()`: another page, or none, is open; `onLoggedOut()`. */
  constructor({
    user, undo, onTurn, onLoggedOut,
  }) {
    Object.assign(this, {
      user, undo, onTurn, onLoggedOut,
    });
    this.kinds = PAGES.filter((kind) => kind.actions.some((action) => user.may.includes(action)));
    this.board = user.may.includes('see_alerts');
    this.links = [...(this.board ? ['board'] : []), ...this.kinds.map((kind) => kind.key)]
      .map((key) => h('a', { href: key === 'board' ? '#' : `#${key}`, 'data-page': key }));
    this.nav = h('nav', { class: 'pages-nav' }, ...this.links);
    this.element = h('main', { class: 'page-main', hidden: true });
    this.page = null;
    this.ruleless = 0;
    this.onHash = () => this.turn();
  }

  start() {
    window.addEventListener('hashchange', this.onHash);
    this.turn();
    this.draw();
    this.refresh();
  }

  stop() {
    this.stopped = true;
    window.removeEventListener('hashchange', this.onHash);
  }

  /** Whether a page stands in the place of the board. */
  isOpen() {
    return this.page !== null;
  }

  turn() {
    const found = pageOf(window.location.hash, this.kinds);
    const Kind = found || (this.board ? null : this.kinds[0]) || null;
    if (Kind ? this.page instanceof Kind : !this.page) return;
    this.page = Kind && new Kind(this);
    arrange(this.element, this.page ? [this.page.element] : []);
    set(this.element, 'hidden', !this.page);
    if (this.page) this.page.load();
    this.draw();
    // On a phone the row of pages is longer than the screen.
    this.nav.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    this.onTurn();
  }

  refresh() {
    if (this.stopped) return;
    clock.after(REFRESH_MS, () => this.refresh());
    if (!this.page) return;
    this.page.head();
    if (this.page.refreshes()) this.page.load({ again: true });
  }

  /** How many devices no rule looks at: counted where the list of devices is opened. */
  count(ruleless) {
    if (ruleless === this.ruleless) return;
    this.ruleless = ruleless;
    this.drawLinks();
  }

  draw() {
    this.drawLinks();
    if (this.page) this.page.draw();
  }

  drawLinks() {
    set(this.nav, 'aria-label', t('pages.nav'));
    for (const link of this.links) {
      const { page } = link.dataset;
      const current = page === (this.page ? this.page.constructor.key : 'board');
      const count = page === 'devices' && this.ruleless ? t('tiles.ruleless', { n: this.ruleless }) : '';
      put(link, [t(`pages.${page}`), count].filter(Boolean).join(' · '));
      set(link, 'aria-current', current ? 'page' : null);
    }
  }
}
