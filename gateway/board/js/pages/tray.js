// The tray: results that wait until a person says whose they are. Nobody is ever chosen for them.

import * as api from '../api.js';
import { h, put, set } from '../dom.js';
import { t } from '../i18n.js';
import { whoseText } from '../mover.js';
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
    /** What draws who is chosen, of each card: nothing is built anew under the hand that chooses. */
    this.marks = [];
    this.body.replaceChildren(
      h('p', { class: 'quiet' }, t('tray.explain')),
      ...waiting.map((one) => this.waiting(one)),
      h('p', { class: 'empty' }, t(waiting.length ? (more ? 'tray.more' : 'tray.all') : 'tray.none')),
    );
    this.mark();
  }

  mark() {
    for (const mark of this.marks) mark();
  }

  waiting(one) {
    const [first] = one.readings;
    const card = h('section', { class: 'page-card', 'data-device': one.device },
      putLine(h('h3'), resultPieces(one.readings)),
      h('p', { class: 'quiet' }, t('tray.from', {
        at: moment(one.measured_time), device: deviceName(one), clinic: one.clinic || one.site,
      })));
    if (!this.may('reassign_readings')) return card;
    const choose = (patient) => {
      this.chosen = patient && { reading: first, patient };
      this.mark();
    };
    const give = h('button', {
      class: 'primary give',
      // The key that chose is still down.
      onkeydown: (event) => event.repeat && event.preventDefault(),
      onclick: () => this.give(first, this.chosen.patient),
    });
    const buttons = one.candidates.map(({ patient, why }) => h('button', {
      class: 'candidate',
      'data-patient': patient,
      onclick: () => {
        choose(patient);
        give.focus();
      },
    }, h('strong', {}, this.whose(patient)),
    h('span', { class: 'quiet' }, why.map((word) => t(`tray.why.${word}`)).join(t('tray.and')))));
    const others = this.others(one, choose);
    const second = h('div', { class: 'candidates' }, give, h('button', {
      onclick: () => {
        choose(null);
        (buttons[0] || others).focus();
      },
    }, t('ack.cancel')));
    card.append(h('div', { class: 'candidates' }, ...buttons, ...(others ? [others] : [])), second);
    this.marks.push(() => {
      const chosen = this.chosen && isSame(this.chosen.reading, first) ? this.chosen.patient : null;
      for (const button of buttons) set(button, 'aria-pressed', String(button.dataset.patient === chosen));
      if (others) others.value = chosen ?? '';
      // Of those that are offered none is in the list of the others.
      if (others && others.selectedIndex < 0) others.value = '';
      set(second, 'hidden', !chosen);
      set(second, 'data-editing', Boolean(chosen));
      if (chosen) put(give, t('tray.give', { who: this.whose(chosen) }));
    });
    return card;
  }

  /** Everybody else of the clinic who is here. By keys each that one comes by is chosen at once. */
  others(one, choose) {
    const offered = new Set(one.candidates.map((candidate) => candidate.patient));
    const others = this.answer.patients
      .filter((patient) => patient.clinic === one.clinic && !offered.has(patient.patient));
    if (!others.length) return null;
    return h('select', {
      class: 'candidate',
      'aria-label': t('tray.other'),
      onchange: ({ target }) => choose(target.value || null),
    }, h('option', { value: '' }, t(one.candidates.length ? 'tray.other' : 'tray.choose')),
    ...others.map(({ patient }) => h('option', { value: patient }, this.whose(patient))));
  }

  /** Many have the same masked name; of who is offered and not in the list less is known. */
  whose(key) {
    const { patients, waiting } = this.answer;
    const isIt = ({ patient }) => patient === key;
    const patient = patients.find(isIt);
    if (patient) return whoseText(patient);
    return whoText(waiting.flatMap(({ candidates }) => candidates).find(isIt) ?? { patient: key });
  }

  async give(reading, patient) {
    const who = this.whose(patient);
    const moved = await this.act(() => api.reassign(reading, {
      patient, from: null, reason: 'claimed',
    }));
    if (!moved) return;
    this.chosen = null;
    const back = { patient: null, from: patient, reason: 'undone' };
    this.undo.offer(() => t('tray.given', { who }), async () => {
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
