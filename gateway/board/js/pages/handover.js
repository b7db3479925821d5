// The sheet of a shift's end: what is open, what was set aside, whose limits are changed, which devices
// are taken off; both sign it on paper. Clean on A4 in black and white.

import {
  message, owner, state, valueOf, who,
} from '../alert-words.js';
import * as api from '../api.js';
import * as clock from '../clock.js';
import { h } from '../dom.js';
import { ownText } from '../drawer-limits.js';
import {
  dateTime, dateTimeSeconds, saidText, shortTime, unitText,
} from '../format.js';
import { t } from '../i18n.js';
import { whoseText } from '../mover.js';
import { between, putLine } from '../number.js';
import { compareAlerts } from '../order.js';
import { Page, table } from './page.js';
import { kindName, moment } from './words.js';

/** Patients whose limits are asked for at a time. */
const AT_ONCE = 6;
const PARTS = [
  ['open', ['active_unack', 'active_ack', 'unknown']],
  ['cleared', ['cleared_unack']],
  ['shelved', ['shelved']],
  ['out_of_service', ['out_of_service', 'suppressed']],
];

export class HandoverPage extends Page {
  static get key() {
    return 'handover';
  }

  static get prints() {
    return true;
  }

  static get actions() {
    return ['see_alerts'];
  }

  async fetch(again) {
    const [alerts, patients, devices] = await Promise.all([
      api.openAlerts(), api.patients(), api.devices(),
    ]);
    // Each patient is asked for: when somebody asks, and not each time that the page asks by itself.
    if (!again || !this.limits) {
      const atMs = clock.serverNow();
      this.limits = { atMs, found: await limitsOf(patients.patients) };
    }
    return { ...alerts, ...patients, ...devices };
  }

  fill() {
    const {
      alerts, truncated, devices,
    } = this.answer;
    const { atMs, found: limits } = this.limits;
    const parts = PARTS.map(([name, states]) => {
      const own = alerts.filter((alert) => states.includes(alert.state)).sort(compareAlerts);
      return this.part(name, own.length, own.length ? table(
        ['priority', 'who', 'what', 'since', 'in_hand', 'note'].map((one) => t(`handover.${one}`)),
        own.map((alert) => this.alert(alert)),
        t(`handover.part.${name}`),
      ) : null);
    });
    const changed = limits.length ? table(
      ['who', 'rule', 'limit', 'ends', 'by'].map((one) => t(`handover.${one}`)),
      limits.map(({ patient, limit, text }) => [
        // Of several townships: two of one masked name are told apart as in the tray.
        [whoseText(patient), patient.clinic].filter(Boolean).join(' · '), limit.rule, text, moment(limit.until), `${limit.made_by} · ${limit.reason}`,
      ]),
      t('handover.part.limits'),
    ) : null;
    const off = devices.filter((device) => device.out_of_service);
    const taken = off.length ? table(
      ['device', 'since', 'ends', 'by'].map((one) => t(`handover.${one}`)),
      off.map((device) => this.taken(device)),
      t('handover.part.devices'),
    ) : null;
    const sign = (name) => h('p', { class: 'sign' }, t(`handover.${name}`));
    this.body.replaceChildren(
      ...(truncated ? [h('p', { class: 'flood' }, t('alerts.truncated'))] : []),
      h('p', {}, t('handover.made', { at: dateTime(this.at), by: this.user.name })),
      ...parts,
      this.part('limits', limits.length, changed, t('handover.as_of', { at: dateTimeSeconds(atMs) })),
      this.part('devices', off.length, taken),
      h('div', { class: 'signs' }, sign('gives'), sign('takes')),
      h('p', { class: 'quiet' }, t('footer')),
    );
  }

  part(name, count, content, asOf = '') {
    const alerts = PARTS.some(([one]) => one === name);
    return h('section', { class: alerts ? 'part alerts-part' : 'part', 'data-part': name },
      h('h3', {}, t(`handover.part.${name}`), ` (${count}) `, h('span', { class: 'quiet' }, asOf)),
      content || h('p', { class: 'empty' }, t('handover.nothing')));
  }

  taken({
    kind, device, clinic, site, out_of_service: off,
  }) {
    return [
      `${kindName(kind)} ${device} · ${clinic || site}`, moment(off.at), moment(off.until),
      `${off.by} · ${off.reason}`,
    ];
  }

  alert(alert) {
    const nowMs = this.at;
    // What was written with an acknowledgement is a note too: a referral is.
    const notes = alert.timeline.filter(({ what }) => ['noted', 'acknowledged'].includes(what))
      .map(({ note }) => saidText(note ?? '', t));
    return [
      t(`priority.${alert.priority}`),
      [...new Set([who(alert), alert.patient ? '' : alert.device, alert.clinic])]
        .filter(Boolean).join(' · '),
      putLine(h('span'), between([[message(alert)], between([valueOf(alert) ? [valueOf(alert)] : [],
        [alert.value ? unitText(alert.unit, t) : '']], '\u00a0')], ' · ')),
      shortTime(Date.parse(alert.started_at), nowMs),
      owner(alert),
      // What its row says: that it came late, is to be measured again, until when it is shelved.
      [state(alert, nowMs), ...notes].filter(Boolean).join(' · '),
    ];
  }
}

/** What was set for each patient, in words: whose limits are changed is asked for whole. */
async function limitsOf(patients) {
  const found = [];
  for (let at = 0; at < patients.length; at += AT_ONCE) {
    const some = patients.slice(at, at + AT_ONCE);
    // A few at a time: the county has other things to do.
    const answers = await Promise.all(some.map((patient) => api.ask(
      `/patients/${encodeURIComponent(patient.patient)}/limits`,
    )));
    answers.forEach(({ limits }, index) => found.push(...limits.map((limit) => ({
      patient: some[index], limit,
    }))));
  }
  const whole = new Map();
  for (const { patient: { patient } } of found) {
    if (!whole.has(patient)) whole.set(patient, await api.patient(patient));
  }
  return found.map((one) => ({
    ...one, text: ownText(one.limit, whole.get(one.patient.patient).limits_in_force),
  }));
}
