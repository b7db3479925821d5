// The tray: results that wait until a person says whose they are. Nobody is ever chosen for them.

import * as api from '../api.js';
import { h } from '../dom.js';
import { t } from '../i18n.js';
import { putLine } from '../number.js';
import { deviceKey, store } from '../store.js';
import { Page } from './page.js';
import {
  kindName, moment, resultPieces, whoText,
} from './words.js';

/** A result is named by its first reading. */
const isSame = (a, b) => ['outbox', 'lane', 'seq', 'index'].every((name) => a[name] === b[name]);

export class TrayPage extends Page {
  static get key() {
    return 'tray';
  }

  static get actions() {
    return ['see_readings'];
  }

  async fetch() {
    const [tray, patients] = await Promise.all([api.ask('/tray'), api.patients()]);
    return { ...tray, ...patients };
  }

  fill() {
    const { waiting, next_cursor: more } = this.answer;
    this.body.replaceChildren(
      h('p', { class: 'quiet' }, t('tray.explain')),
      ...waiting.map((one) => this.waiting(one)),
      h('p', { class: 'empty' }, t(waiting.length ? (more ? 'tray.more' : 'tray.all') : 'tray.none')),
    );
  }

  waiting(one) {
    const [first] = one.readings;
    const card = h('section', { class: 'page-card', 'data-device': one.device },
      putLine(h('h3'), resultPieces(one.readings)),
      h('p', { class: 'quiet' }, t('tray.from', {
        at: moment(one.measured_time), device: deviceName(one), clinic: one.clinic || one.site,
      })));
    if (!this.may('reassign_readings')) return card;
    const chosen = this.chosen && isSame(this.chosen.reading, first) ? this.chosen.candidate : null;
    const choose = (candidate) => {
      this.chosen = candidate && { reading: first, candidate };
      this.draw();
    };
    const buttons = one.candidates.map((candidate) => h('button', {
      class: 'candidate',
      'data-patient': candidate.patient,
      'aria-pressed': String(chosen?.patient === candidate.patient),
      onclick: () => choose(candidate),
    }, h('strong', {}, whoText(candidate)),
    h('span', { class: 'quiet' }, candidate.why.map((why) => t(`tray.why.${why}`)).join(t('tray.and')))));
    card.append(h('div', { class: 'candidates' }, ...buttons, this.others(one, chosen, choose)));
    if (chosen) {
      card.append(h('div', { class: 'candidates', 'data-editing': true },
        h('button', { class: 'primary give', onclick: () => this.give(first, chosen) },
          t('tray.give', { who: whoText(chosen) })),
        h('button', { onclick: () => choose(null) }, t('ack.cancel'))));
    }
    return card;
  }

  /** Everybody else of the clinic who is here. */
  others(one, chosen, choose) {
    const offered = new Set(one.candidates.map((candidate) => candidate.patient));
    const others = this.answer.patients
      .filter((patient) => patient.clinic === one.clinic && !offered.has(patient.patient));
    if (!others.length) return null;
    return h('select', {
      class: 'candidate',
      'aria-label': t('tray.other'),
      onchange: ({ target }) => choose(others.find((other) => other.patient === target.value)),
    }, h('option', { value: '' }, t(one.candidates.length ? 'tray.other' : 'tray.choose')), ...others.map((patient) => h('option', {
      value: patient.patient, selected: chosen?.patient === patient.patient,
    }, whoText(patient))));
  }

  async give(reading, candidate) {
    const moved = await this.act(() => api.reassign(reading, {
      patient: candidate.patient, from: null, reason: 'claimed',
    }));
    if (!moved) return;
    this.chosen = null;
    const back = { patient: null, from: candidate.patient, reason: 'undone' };
    this.undo.offer(() => t('tray.given', { who: whoText(candidate) }), async () => {
      await api.reassign(reading, back);
      await this.load();
    });
    this.draw();
  }
}

/** What a person calls the machine, and what it is called. */
function deviceName(one) {
  const kind = store.devices.get(deviceKey(one))?.kind;
  return [kind ? kindName(kind) : '', one.device].filter(Boolean).join(' ');
}
