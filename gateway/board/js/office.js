// For those who see no patient: administrators. The same pages, without the board.

import * as api from './api.js';
import * as clock from './clock.js';
import { h, put } from './dom.js';
import { nextLanguage, t } from './i18n.js';
import { Own } from './own.js';
import { Pages } from './pages.js';
import { Renewal, isHalfFilled } from './renewal.js';
import { UndoBar } from './undo-bar.js';

/** How often it is asked whether somebody is still logged in. */
const WATCH_MS = 60_000;

export class Office {
  /** `onLeft()`: logged out, or the session is over. */
  constructor(user, root, onLeft) {
    Object.assign(this, { user, root, onLeft });
    this.undo = new UndoBar();
    this.pages = new Pages({
      user, undo: this.undo, onTurn: () => {}, onLoggedOut: () => this.leave(),
    });
    this.own = new Own(user, () => this.leave());
    this.title = h('span', { class: 'title' });
    this.language = h('button', {
      onclick: () => {
        nextLanguage();
        this.draw();
      },
    });
    this.logOut = h('button', { onclick: () => api.logOut().catch(() => {}).then(() => this.leave()) });
    this.footer = h('footer');
  }

  start() {
    const bar = h('header', { class: 'topbar' }, this.title,
      this.own.button,
      h('span', { class: 'tools' }, this.language, this.logOut));
    const top = h('div', { class: 'top' }, bar, this.own.panel);
    this.renewal = new Renewal(top, () => this.isFree());
    top.append(this.renewal.program.element, this.pages.nav);
    this.root.replaceChildren(top, this.pages.element, this.footer, this.undo.element);
    this.draw();
    this.pages.start();
    this.renewal.start();
    this.watch();
  }

  /** Whether the page may begin anew: nothing is half done. */
  isFree() {
    const { page } = this.pages;
    return !this.undo.offers.length && !page.busy && !isHalfFilled(page.element);
  }

  /** A session that ended leaves nothing on screen. */
  watch() {
    clock.after(WATCH_MS, async () => {
      if (this.left) return;
      this.watch();
      await api.session().catch((failure) => {
        if (failure.status === 401) this.leave();
      });
    });
  }

  draw() {
    put(this.title, t('title'));
    put(this.language, t('language.other'));
    put(this.logOut, t('top.log_out'));
    put(this.footer, t('footer'));
    this.own.draw();
    this.pages.draw();
  }

  leave() {
    if (this.left) return;
    this.left = true;
    this.pages.stop();
    this.undo.clear();
    this.onLeft();
  }
}
