// The tray: results that wait until a person says whose they are. Nobody is ever chosen for them.

import * as api from '../api.js';
import * as clock from '../clock.js';
import { h, set } from '../dom.js';
import { t } from '../i18n.js';
import { Page } from './page.js';
import { measured, moment, whoText } from './words.js';

const UNDO_MS = 10_000;

/** The path under which a reading, and all that was said with it, is moved. */
export function movePath({
  outbox, lane, seq, index,
}) {
  return `/readings/${[outbox, lane, seq, index].map(encodeURIComponent).join('/')}/reassign`;
}

export class TrayPage extends Page {
  static get key() {
    return 'tray';
  }

  static get actions() {
    return ['see_readings'];
  }

  async fetch() {
    const [tray, patients] = await Promise.all([api.ask('/tray'), api.ask('/patients')]);
    return { ...tray, ...patients };
  }

  fill() {
    const { waiting, next_cursor: more } = this.answer;
    this.body.replaceChildren(
      this.undoLine(),
      h('p', { class: 'quiet' }, t('tray.explain')),
      ...waiting.map((one) => this.waiting(one)),
      h('p', { class: 'empty' }, t(waiting.length ? (more ? 'tray.more' : 'tray.all') : 'tray.none')),
    );
  }

  waiting(one) {
    const [first] = one.readings;
    const card = h('section', { class: 'page-card', 'data-device': one.device },
      h('h3', {}, one.readings.map(measured).join(' · ')),
      h('p', { class: 'quiet' }, t('tray.from', {
        at: moment(one.measured_time), device: one.device, clinic: one.clinic || one.site,
      })));
    if (!this.may('reassign_readings')) return card;
    const buttons = one.candidates.map((candidate) => h('button', {
      class: 'candidate',
      'data-patient': candidate.patient,
      onclick: () => this.give(first, candidate),
    }, h('strong', {}, whoText(candidate)),
    h('span', { class: 'quiet' }, candidate.why.map((why) => t(`tray.why.${why}`)).join(', '))));
    const offered = new Set(one.candidates.map((candidate) => candidate.patient));
    const others = this.answer.patients
      .filter((patient) => patient.clinic === one.clinic && !offered.has(patient.patient));
    const other = h('select', {
      class: 'candidate',
      'aria-label': t('tray.other'),
      onchange: (event) => {
        const chosen = others.find((patient) => patient.patient === event.target.value);
        if (chosen) this.give(first, chosen);
      },
    }, h('option', { value: '' }, t('tray.other')),
    ...others.map((patient) => h('option', { value: patient.patient }, whoText(patient))));
    card.append(h('div', { class: 'candidates' }, ...buttons, others.length ? other : null));
    return card;
  }

  async give(reading, candidate) {
    const path = movePath(reading);
    const moved = await this.act(() => api.tell('POST', path, {
      patient: candidate.patient, from: null, reason: 'claimed',
    }));
    if (!moved) return;
    const undo = { path, patient: candidate.patient, who: whoText(candidate) };
    this.undo = undo;
    clock.after(UNDO_MS, () => {
      if (this.undo !== undo) return;
      this.undo = null;
      this.draw();
    });
    this.draw();
  }

  undoLine() {
    const line = h('p', { class: 'notice', role: 'status' });
    set(line, 'hidden', !this.undo);
    if (!this.undo) return line;
    const { path, patient, who } = this.undo;
    line.append(t('tray.given', { who }), ' ', h('button', {
      onclick: () => {
        this.undo = null;
        this.act(() => api.tell('POST', path, { patient: null, from: patient, reason: 'undo' }));
      },
    }, t('tray.undo')));
    return line;
  }
}
