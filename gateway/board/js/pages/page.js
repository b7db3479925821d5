// What every page does: it asks the county, says when it did, and says so when it could not.

import * as clock from '../clock.js';
import { h, put, set } from '../dom.js';
import { dateTime, timeSeconds } from '../format.js';
import { t } from '../i18n.js';
import { printAway } from '../print.js';
import { refusalText } from '../refusal.js';

/**
 * Where somebody's hand is: what moves under it is another thing than what was meant. A table that
 * was clicked is nobody's hand, one that somebody scrolls by keys is.
 */
const HAND = '[data-editing], input:focus, select:focus, textarea:focus, button:focus, button:hover, '
  + 'summary:focus, [tabindex]:focus-visible';
/** A date or a moment: in a narrow column it stays in one line. */
const MOMENT = /^\d{4}-\d\d-\d\d( \d\d:\d\d)?$/;
/** What is older than this says so: it is asked for twice as often. */
const OLD_MS = 60_000;

/**
 * A page has a `key` (its address), `actions` (whoever may one of them sees it), `fetch(again)` (asks
 * the county; its answer is `this.answer`) and `fill()` (draws the answer into `this.body`); one
 * that `prints` is made for paper too.
 */
export class Page {
  constructor({ user, undo, onLoggedOut }) {
    Object.assign(this, { user, undo, onLoggedOut });
    this.heading = h('h2');
    this.asOf = h('span', { class: 'as-of', role: 'status' });
    // Paper is read on another day.
    this.day = h('span', { class: 'paper-day' });
    this.again = h('button', { class: 'again', onclick: () => this.load() });
    this.print = h('button', { class: 'print', onclick: () => this.onPrint() });
    this.problem = h('p', { class: 'page-problem', role: 'alert' });
    this.body = h('div', { class: 'page-body' });
    this.element = h('section', { class: 'page', 'data-page': this.constructor.key },
      h('div', { class: 'page-head' }, this.heading, this.day, this.asOf, this.again, this.print),
      this.problem, this.body);
    /** What somebody opened or shut, by its key: drawn anew it is as they left it. */
    this.opened = new Map();
    this.answer = null;
    this.asked = 0;
  }

  may(action) {
    return this.user.may.includes(action);
  }

  /** Nothing is drawn anew under somebody who types. */
  refreshes() {
    return !this.busy && !this.body.querySelector(HAND);
  }

  /** `again`: the page asks by itself, for what becomes old soon. */
  async load({ again = false } = {}) {
    this.asked += 1;
    this.busy = true;
    const { asked } = this;
    try {
      const answer = await this.fetch(again);
      if (asked !== this.asked) return;
      this.answer = answer;
      this.at = clock.serverNow();
      this.failed = null;
      this.refill();
    } catch (failure) {
      if (asked !== this.asked) return;
      this.fail(failure);
    }
    this.busy = false;
    this.head();
  }

  /** Says what went wrong; the numbers that are there stay, with the time they are of. */
  fail(failure) {
    if (failure.status === 401) this.onLoggedOut();
    else this.failed = failure;
    this.head();
  }

  /** Does what a person asked for, says what went wrong, and asks again. */
  async act(run) {
    try {
      await run();
      await this.load();
      return true;
    } catch (failure) {
      this.fail(failure);
      return false;
    }
  }

  head() {
    const { key } = this.constructor;
    put(this.heading, t(`pages.${key}`));
    put(this.again, t('pages.again'));
    put(this.print, t('pages.print'));
    set(this.print, 'hidden', !this.constructor.prints);
    put(this.asOf, this.answer ? t('pages.as_of', { at: timeSeconds(this.at) }) : t('pages.loading'));
    put(this.day, this.answer ? dateTime(this.at).slice(0, 10) : '');
    set(this.asOf, 'data-old', Boolean(this.failed) || clock.serverNow() - this.at > OLD_MS);
    put(this.problem, this.failed ? this.words(this.failed) : '');
    set(this.problem, 'hidden', !this.failed);
  }

  onPrint() {
    printAway(this.element, () => {
      put(this.problem, t('print.blocked'));
      set(this.problem, 'hidden', null);
    });
  }

  words(failure) {
    if (failure.status === 0) return t('pages.no_answer');
    return t('pages.refused', { why: refusalText(failure) });
  }

  draw() {
    this.head();
    if (this.answer) this.refill();
  }

  /** Draws the answer; the focus stays in what can be opened, where it was there. */
  refill() {
    const { activeElement: active } = document;
    const fold = this.body.contains(active) ? active.closest('[data-fold]') : null;
    this.fill();
    if (!fold || this.body.contains(active)) return;
    const own = [...this.body.querySelectorAll('[data-fold]')].find((one) => one.dataset.fold === fold.dataset.fold);
    if (!own) return;
    const named = active.name && own.open ? own.querySelector(`[name="${active.name}"]`) : null;
    (named ?? own.querySelector('summary')).focus();
  }

  /** What can be opened, by a key of its own in the page. */
  fold(key, attributes, summary, ...children) {
    return h('details', {
      ...attributes,
      open: this.opened.get(key) ?? attributes.open,
      'data-fold': key,
      ontoggle: ({ target }) => this.opened.set(key, target.open),
    }, h('summary', {}, summary), ...children);
  }
}

/**
 * A table: `head` are its texts, `rows` lists of texts or elements, or
 * `{ cells, target }` where a row has a colour. Its roles are written out: on a
 * phone a row is a card, and an old Chromium takes for a table only what is laid out as one.
 */
export function table(head, rows, name) {
  const cell = (content, column) => {
    const moment = MOMENT.test(content) ? 'moment' : null;
    return h('td', { class: moment, role: 'cell', 'data-name': head[column] },
      content instanceof Node ? content : String(content ?? ''));
  };
  const names = head.map((text) => h('th', { scope: 'col', role: 'columnheader' }, text));
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': name },
    h('table', { class: 'table', role: 'table' },
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, ...names)),
      h('tbody', { role: 'rowgroup' },
        ...rows.map((row) => (
          h('tr', { role: 'row', 'data-target': row.target }, ...(row.cells ?? row).map(cell)))))));
}

/** A form's field with its name above it. */
export function field(name, input) {
  return h('label', { class: 'field' }, h('span', {}, name), input);
}

/** A choice of `options`: pairs of value and text. */
export function choice(options, chosen, attributes = {}) {
  return h('select', attributes, ...options.map(([value, text]) => h('option', {
    value, selected: value === chosen,
  }, text)));
}

/** What a person types before it is sent; while it is open nothing is drawn anew. */
export function form(onSubmit, ...children) {
  return h('form', {
    class: 'form',
    oninput: (event) => set(event.currentTarget, 'data-editing', true),
    onsubmit: async (event) => {
      event.preventDefault();
      const element = event.currentTarget;
      const button = element.querySelector('button[type=submit], button:not([type])');
      if (button) button.disabled = true;
      // Sent or not, what was typed stays until the county took it.
      if (await onSubmit(element)) set(element, 'data-editing', null);
      if (button) button.disabled = false;
    },
  }, ...children);
}
