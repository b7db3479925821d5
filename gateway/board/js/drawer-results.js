// Results one by one, and moving one to the right person: two clicks, and ten seconds to undo it.

import * as api from './api.js';
import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import { dateTime, shortTime } from './format.js';
import { t } from './i18n.js';
import { compareNames } from './beds.js';
import { resultText } from './pages/words.js';
import { may, patientOf, store } from './store.js';

const SHOWN_MAX = 40;
const UNDO_MS = 10_000;
const REASON = 'wrong_patient';

export class Results {
  /** `onChange(change)` runs a change and shows what it made of things; whether it was done. */
  constructor({ onChange }) {
    this.onChange = onChange;
    this.rows = new Map();
    this.heading = h('h3');
    this.list = h('ol', { class: 'results' });
    this.undoText = h('span');
    this.undoButton = h('button', { onclick: () => this.undo() });
    this.undoBar = h('p', { class: 'result-undo', role: 'status', hidden: true },
      this.undoText, this.undoButton);
    this.element = h('section', { class: 'drawer-results' },
      this.heading, this.undoBar, this.list);
    this.clear();
  }

  clear() {
    this.results = [];
    this.openKey = null;
    this.done = null;
    this.rows.clear();
    this.list.replaceChildren();
    set(this.undoBar, 'hidden', true);
  }

  show(results, place) {
    this.place = place;
    this.results = [...results].reverse().slice(0, SHOWN_MAX);
  }

  draw() {
    put(this.heading, t('results.heading'));
    set(this.element, 'hidden', !this.results.length);
    put(this.undoButton, t('results.undo'));
    set(this.undoBar, 'hidden', !this.done);
    if (this.done) put(this.undoText, t('results.moved', { to: whose(this.done.to) }));
    const keys = this.results.map(keyOf);
    for (const key of this.rows.keys()) if (!keys.includes(key)) this.rows.delete(key);
    arrange(this.list, this.results.map((result) => this.row(result).element));
  }

  row(result) {
    const key = keyOf(result);
    if (!this.rows.has(key)) this.rows.set(key, new ResultRow(this, key));
    const row = this.rows.get(key);
    row.draw(result, this.place, this.openKey === key);
    return row;
  }

  toggle(key) {
    this.openKey = this.openKey === key ? null : key;
    this.draw();
  }

  /** The second click. */
  async move(reading, to) {
    const before = reading.patient;
    this.openKey = null;
    const body = { from: before, patient: to, reason: REASON };
    if (!await this.onChange(() => api.reassign(reading, body))) return;
    const done = { reading, from: before, to };
    this.done = done;
    this.draw();
    clock.after(UNDO_MS, () => {
      if (this.done === done) this.done = null;
      this.draw();
    });
  }

  async undo() {
    const { reading, from, to } = this.done;
    this.done = null;
    await this.onChange(() => api.reassign(reading, { from: to, patient: from, reason: 'undone' }));
    this.draw();
  }
}

class ResultRow {
  constructor(results, key) {
    this.results = results;
    const span = (name) => h('span', { class: name });
    [this.time, this.value, this.from, this.moved] = [
      'time', 'result-value', 'from', 'moved',
    ].map(span);
    this.button = h('button', { class: 'not-this', onclick: () => results.toggle(key) });
    this.choice = h('div', { class: 'choice', role: 'group', hidden: true });
    this.element = h('li', { class: 'result' },
      this.time, this.value, this.from, this.moved, this.button, this.choice);
  }

  draw({ readings, moves }, place, open) {
    const [first] = readings;
    this.first = first;
    const own = place.patient ? first.patient === place.patient : first.patient === null;
    const nowMs = clock.serverNow();
    put(this.time, shortTime(Date.parse(first.measured_time), nowMs));
    put(this.value, resultText(readings));
    put(this.from, first.device);
    set(this.element, 'data-moved', own ? null : 'true');
    set(this.element, 'data-device', first.device);
    const last = moves[moves.length - 1];
    put(this.moved, last ? t(own ? 'results.moved_here' : 'results.moved_away', {
      by: last.by, at: shortTime(Date.parse(last.at), nowMs), to: whose(first.patient),
    }) : '');
    set(this.button, 'hidden', !own || !may('reassign_readings'));
    put(this.button, t(place.patient ? 'results.not_this' : 'results.claim'));
    set(this.button, 'aria-expanded', String(open));
    set(this.choice, 'hidden', !open);
    if (open) this.drawChoice(place);
  }

  /** The tray, then who was seen in this township today. */
  drawChoice(place) {
    set(this.choice, 'aria-label', t('results.choose'));
    const wanted = [...(place.patient ? [null] : []), ...candidates(place).map((one) => one.patient)];
    arrange(this.choice, wanted.map((key, index) => {
      let button = this.choice.children[index];
      if (!button || button.key !== key) {
        button = h('button', { onclick: () => this.results.move(this.first, key) });
        button.key = key;
      }
      set(button, 'data-patient', key ?? '');
      put(button, key === null ? t('results.to_tray') : whose(key));
      return button;
    }));
  }
}

/** Patients of the township who are in a bed, on a device, or expected today. */
function candidates(place) {
  const today = dateTime(clock.serverNow()).slice(0, 10);
  const bound = new Set([...store.bindings.values()].map((binding) => binding.patient));
  return [...store.patients.values()]
    .filter((one) => one.clinic === place.clinic && one.patient !== place.patient)
    .filter((one) => one.bed || bound.has(one.patient) || one.appointment === today)
    .sort((a, b) => compareNames(a.bed || '', b.bed || ''));
}

/** A patient as a button says it: bed and masked name. */
function whose(key) {
  if (key === null) return t('results.tray');
  const patient = patientOf({ patient: key });
  if (!patient) return t('results.other');
  const bed = patient.bed ? t('tiles.bed', { bed: patient.bed }) : '';
  return [bed, patient.name || t('tiles.unnamed')].filter(Boolean).join(' ');
}

function keyOf({ readings }) {
  const {
    site, outbox, lane, seq, index,
  } = readings[0] || {};
  return [site, outbox, lane, seq, index].join('/');
}
