// Of which program this page is, and whether the county has another by now: the page then begins
// anew, once for each, and says so.

import * as clock from './clock.js';
import { h, put, set } from './dom.js';
import { shortTime } from './format.js';
import { t } from './i18n.js';

/** For which program the page began anew. */
const RENEWED_FOR = 'board.renewed_for';
/** Whoever comes by in that time reads that it did. */
const NOTE_MS = 600_000;

export class Program {
  constructor() {
    /** Empty where the page does not know it: it stays as it is. */
    this.own = document.querySelector('meta[name="board"]').content;
    this.county = null;
    this.element = h('p', { class: 'renewed-note', role: 'status', hidden: true });
    this.renewedAt = null;
    if (this.own && sessionStorage.getItem(RENEWED_FOR) === this.own) {
      sessionStorage.removeItem(RENEWED_FOR);
      this.renewedAt = clock.now();
    }
  }

  /** What the county says of the board that it has. */
  heard(board) {
    this.county = board;
  }

  /** Whether to begin anew; where that did not help it does not help again. */
  isOld() {
    return Boolean(this.own && this.county) && this.county !== this.own
      && sessionStorage.getItem(RENEWED_FOR) !== this.county;
  }

  /** The page begins anew now, for whatever reason. */
  carryOver() {
    if (this.isOld()) sessionStorage.setItem(RENEWED_FOR, this.county);
  }

  draw() {
    const at = this.renewedAt;
    const told = at !== null && clock.now() - at < NOTE_MS;
    set(this.element, 'hidden', !told);
    // By the county's clock, as every time of the board.
    const nowMs = clock.serverNow();
    if (told) put(this.element, t('top.renewed', { at: shortTime(nowMs - clock.now() + at, nowMs) }));
  }
}
