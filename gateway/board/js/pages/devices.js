// Devices and edge boxes: what is connected, how long a box holds, and what is missing, in words.

import * as api from '../api.js';
import * as clock from '../clock.js';
import { h } from '../dom.js';
import { powerPieces } from '../drawer-health.js';
import {
  actionText, ageText, heldText, wordOf,
} from '../format.js';
import { t } from '../i18n.js';
import { whoseText } from '../mover.js';
import { putLine } from '../number.js';
import { waitingAt } from '../store.js';
import { Page, table } from './page.js';
import { kindName, moment, whoText } from './words.js';
import { asideLines, lostText, missingLines } from './missing.js';

export class DevicesPage extends Page {
  static get key() {
    return 'devices';
  }

  static get actions() {
    return ['see_sites'];
  }

  async fetch() {
    const readings = this.may('see_readings');
    const [sites, devices, patients, bindings, ledger] = await Promise.all([
      api.sites(),
      readings ? api.devices() : { devices: [] },
      readings ? api.patients() : { patients: [] },
      readings ? api.ask('/bindings') : { bindings: [] },
      this.may('read_ledger') ? api.ask('/ledger') : { outboxes: [], aside: [], aside_left_out: 0 },
    ]);
    return { ...sites, ...devices, ...patients, ...bindings, ...ledger };
  }

  fill() {
    const { sites, aside_left_out: left } = this.answer;
    this.body.replaceChildren(...sites.map((site) => this.site(site)));
    if (left) this.body.prepend(h('p', { class: 'pending' }, t('missing.aside.left_out', { n: left })));
    if (!sites.length) this.body.append(h('p', { class: 'empty' }, t('devices.none')));
  }

  site(site) {
    const { answer } = this;
    const devices = answer.devices.filter((device) => device.site === site.site);
    const lanes = answer.outboxes.filter((lane) => lane.site === site.site);
    const missing = missingLines(lanes, clock.serverNow(), t);
    const aside = asideLines(answer.aside.filter((one) => one.site === site.site), lanes, t);
    return h('section', { class: 'page-card', 'data-site': site.site, 'data-online': String(site.online) },
      h('h3', {}, `${site.clinic || site.site} `, h('span', { class: 'quiet' }, site.site)),
      h('ul', { class: 'facts' },
        ...this.facts(site).map((text) => h('li', {}, text)), lostFact(site)),
      this.missing([...missing, ...aside], site),
      devices.length ? table(
        ['device', 'who', 'state', 'heard', 'battery', 'done'].map((name) => t(`devices.${name}`)),
        devices.map((device) => this.device(device, site)),
        t('devices.of', { site: site.clinic || site.site }),
      ) : null);
  }

  facts(site) {
    const age = (at) => ageText(clock.serverNow() - Date.parse(at), t, true);
    const waiting = waitingAt(site);
    const state = site.online ? t('site.online') : t(site.last_seen ? 'site.offline' : 'site.never', {
      at: moment(site.last_seen),
    });
    return [
      state,
      site.last_seen && t('devices.last_seen', { age: age(site.last_seen) }),
      site.holds_s !== null && t('devices.holds', { age: heldText(site.holds_s, t) }),
      waiting && t('devices.waiting', { n: waiting }),
      site.clock && t(`devices.clock.${site.clock}`),
      site.agent_version && t('devices.version', { version: site.agent_version }),
      site.late && t('devices.late', {
        from: moment(site.late.from), until: moment(site.late.until), n: site.late.readings,
        alerts: site.late.alerts,
      }),
    ].filter(Boolean);
  }

  /** Of what was measured since a box went away nobody knows yet, nor whose is what is kept and not told. */
  missing(texts, { site, online, last_seen: seen }) {
    if (!texts.length && (!seen || this.answer.aside_left_out)) return null;
    if (!texts.length) return h('p', { class: 'whole' }, t(online ? 'missing.none' : 'missing.none_before'));
    return this.fold(site, { class: 'missing', open: texts.length <= 3 }, t('missing.some', { n: texts.length }),
      h('ul', {}, ...texts.map((text) => h('li', {}, text))));
  }

  device(device, site) {
    const binding = this.answer.bindings.find((one) => one.site === device.site
      && one.device === device.device);
    const patient = binding && this.answer.patients.find((one) => one.patient === binding.patient);
    const who = binding ? whoOn(binding, patient) : t('patient.none');
    // Nobody hears a device whose box is silent.
    const state = site.online ? device.state : 'unknown';
    const [done] = device.actions;
    const power = powerPieces(device.latest);
    const heard = device.last_observed
      ? t('age.fresh', { age: ageText(clock.serverNow() - Date.parse(device.last_observed), t, true) })
      : '–';
    return [
      h('span', {}, `${kindName(device.kind)} `, h('span', { class: 'quiet' }, device.device)),
      who,
      h('span', {}, h('span', { 'data-device-state': state }, wordOf('device_state', state, t)),
        device.lost_24h.times ? h('span', { class: 'lost' }, lostText(device.lost_24h, t)) : null),
      heard,
      power.length ? putLine(h('span'), power) : '',
      done ? `${moment(done.at)} ${actionText(done, t)}` : '',
    ];
  }
}

/** On whom a device is: two of one masked name are told apart as in the tray. */
function whoOn({ patient: key, bed }, patient) {
  return patient ? whoseText({ ...patient, bed: bed || patient.bed }) : whoText({ patient: key, bed });
}

/** How often the county lost a box; of one that never spoke there is nothing to say. */
function lostFact({ lost_24h: lost }) {
  return lost && h('li', { class: 'lost', 'data-lost': lost.times > 0 }, lostText(lost, t));
}
