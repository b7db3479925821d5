// What somebody has to see to before it fails: disks, certificates, the chain; for administrators.

import * as api from '../api.js';
import { h } from '../dom.js';
import { wordOf } from '../format.js';
import { either, t } from '../i18n.js';
import { Page, table } from './page.js';
import { moment } from './words.js';

/** Families whose value is told: in which words. */
const VALUES = { tech_storage: 'upkeep.free', tech_cert: 'upkeep.days' };

export class UpkeepPage extends Page {
  static get key() {
    return 'upkeep';
  }

  static get actions() {
    return ['see_service_alerts'];
  }

  fetch() {
    return api.ask('/alerts', { state: 'open' });
  }

  fill() {
    const { alerts } = this.answer;
    this.body.replaceChildren(alerts.length ? table(
      ['what', 'where', 'value', 'since', 'todo'].map((name) => t(`upkeep.${name}`)),
      alerts.map((alert) => [
        either(alert.message_zh, alert.message_en), where(alert), value(alert),
        moment(alert.started_at), todo(alert),
      ]),
      t('pages.upkeep'),
    ) : h('p', { class: 'empty' }, t('upkeep.none')));
  }
}

/** Which box it is about, or that it is here. */
function where({ site, device }) {
  return device === site ? t('upkeep.here') : t('upkeep.box', { box: device });
}

/** What to do: the certificates of this service are made anew in another way than that of a box. */
function todo({ site, device, family }) {
  const isOwn = family === 'tech_cert' && device === site;
  // An option of a command stays in one piece: who reads `--` at a line's end types another command.
  const parts = wordOf('upkeep.todo', isOwn ? 'tech_cert_here' : family, t).split(/(--\w+)/);
  return h('span', {}, ...parts.map((part, index) => (index % 2 ? h('span', { class: 'option' }, part) : part)));
}

/** How much is left. */
function value(alert) {
  const key = VALUES[alert.family];
  if (!key || alert.value === null) return '';
  const n = Number(alert.value);
  return alert.family === 'tech_cert' && n < 0 ? t('upkeep.over') : t(key, { n });
}
