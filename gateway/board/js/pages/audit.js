// Who did what, as the chain has it; for the audit administrator.

import * as api from '../api.js';
import * as clock from '../clock.js';
import { h, set } from '../dom.js';
import { saidText, wordOf } from '../format.js';
import { t } from '../i18n.js';
import { Page, table } from './page.js';
import { moment } from './words.js';

const ROWS = 200;
const HOUR_MS = 3_600_000;

export class AuditPage extends Page {
  constructor(options) {
    super(options);
    this.since = null;
    this.cursor = null;
  }

  static get key() {
    return 'audit';
  }

  static get actions() {
    return ['read_audit'];
  }

  async fetch() {
    const [audit, head] = await Promise.all([
      api.ask('/audit', { from: this.since, limit: ROWS, cursor: this.cursor }),
      api.ask('/audit/head'),
    ]);
    return { ...audit, head };
  }

  fill() {
    const { entries, next_cursor: next, head } = this.answer;
    const last = (hours, words) => h('button', {
      onclick: () => this.turn(new Date(clock.serverNow() - hours * HOUR_MS).toISOString(), null),
    }, words);
    this.body.replaceChildren(
      h('p', {}, t('audit.head'), ' ', h('code', {}, `${head.id}:${head.hash}`)),
      h('p', { class: 'quiet' }, t('audit.explain')),
      h('div', { class: 'filters' }, last(1, t('audit.hours', { n: 1 })), last(24, t('audit.hours', { n: 24 })),
        last(7 * 24, t('audit.days', { n: 7 })),
        h('button', { onclick: () => this.turn(null, null) }, t('audit.all'))),
      entries.length ? table(
        ['id', 'at', 'who', 'action', 'what', 'detail', 'hash'].map((name) => t(`audit.${name}`)),
        entries.map((entry) => [
          entry.id, moment(entry.at), String(entry.who), wordOf('audit.did', entry.action, t),
          String(entry.what ?? ''), h('code', {}, plain(entry.detail)),
          hashOf(entry),
        ]),
        t('pages.audit'),
      ) : h('p', { class: 'empty' }, t('audit.none')),
      next ? h('button', { onclick: () => this.turn(this.since, next) }, t('audit.next')) : '',
    );
  }

  turn(since, cursor) {
    Object.assign(this, { since, cursor });
    this.load();
  }
}

/** The first letters, and all of them for whoever opens it: nothing is drawn anew meanwhile. */
function hashOf({ hash }) {
  return h('details', {
    class: 'hash', ontoggle: ({ target }) => set(target, 'data-editing', target.open),
  }, h('summary', {}, h('code', {}, hash.slice(0, 8))), h('code', {}, hash));
}

/** What an entry says, without the quotes of JSON. */
function plain(detail) {
  if (detail === null || typeof detail !== 'object') return String(detail ?? '');
  const said = (name, value) => (
    name === 'reason' && typeof value === 'string' ? wordOf('reason', saidText(value, t), t) : value);
  return Object.entries(detail)
    .map(([name, value]) => `${name}: ${JSON.stringify(said(name, value))}`).join(', ');
}
