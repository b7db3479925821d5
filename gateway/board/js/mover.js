// "Not this patient's": a result goes to the right patient or to the tray in two clicks, and back
// within ten seconds. Nobody is ever chosen for it.

import * as api from './api.js';
import * as clock from './clock.js';
import { arrange, h, put, set } from './dom.js';
import {
  dateTime, shortTime, shownValue, unitText,
} from './format.js';
import { compareNames } from './beds.js';
import { t } from './i18n.js';
import { metricName } from './metric-name.js';
import { measuredMs } from './order.js';
import { dayOf } from './pages/words.js';
import { may, patientOf, store } from './store.js';
import { apartText } from './who.js';

/** What is sent where nobody typed another reason: of a patient's result, and of nobody's. */
const REASONS = ['wrong_patient', 'claimed'];
const REASON_MAX = 200;

export class Mover {
  /**
   * `undo`: the bar; `find()`: a reading of the result, also as a promise; `run(change)`:
   * does it and tells what went wrong; whether it was done.
   */
  constructor({ undo, find, run }) {
    Object.assign(this, { undo, find, run });
    this.isOpen = false;
    this.button = h('button', { class: 'not-this', hidden: true, onclick: () => this.toggle() });
    this.buttons = h('div', { class: 'choice' });
    this.reason = h('input', { class: 'move-reason', maxlength: REASON_MAX, autocomplete: 'off' });
    this.choice = h('div', { class: 'choice', role: 'group', hidden: true });
  }

  /**
   * The first click: what is on screen now is moved, though another is measured meanwhile; and who
   * may be chosen stays where they stand, whoever comes or goes.
   */
  toggle() {
    this.isOpen = !this.isOpen;
    if (this.isOpen) {
      const reading = Promise.resolve(this.find());
      // What goes wrong is told at the second click.
      reading.catch(() => {});
      const { place } = this;
      const keys = [...(place.patient ? [null] : []), ...candidates(place, { measured: true }).map((one) => one.patient)];
      this.chosen = { place, reading, keys };
      this.reason.value = '';
    }
    this.draw(this.place);
  }

  /** `place`: `{patient, clinic}` of the result; `null` where nothing can be moved. */
  draw(place) {
    const possible = Boolean(place) && may('reassign_readings');
    this.place = place;
    if (!possible) this.isOpen = false;
    set(this.button, 'hidden', !possible);
    set(this.choice, 'hidden', !this.isOpen);
    set(this.choice, 'data-open', this.isOpen ? 'true' : null);
    arrange(this.choice, this.isOpen ? [this.buttons, this.reason] : []);
    if (!possible) return;
    put(this.button, t(place.patient ? 'results.not_this' : 'results.claim'));
    set(this.button, 'aria-expanded', String(this.isOpen));
    if (this.isOpen) this.drawChoice();
  }

  /** The tray, then who was seen in this township today. */
  drawChoice() {
    set(this.choice, 'aria-label', t('results.choose'));
    for (const name of ['placeholder', 'aria-label']) set(this.reason, name, t('results.reason', { reason: t(`reason.${this.preset()}`) }));
    arrange(this.buttons, this.chosen.keys.map((key, index) => {
      let button = this.buttons.children[index];
      if (!button || button.key !== key) {
        button = h('button', { onclick: () => this.move(key) });
        button.key = key;
      }
      set(button, 'data-patient', key ?? '');
      put(button, key === null ? t('results.to_tray') : whose(key));
      return button;
    }));
  }

  preset() {
    return REASONS[this.chosen.place.patient ? 0 : 1];
  }

  /** The second click. */
  async move(to) {
    this.isOpen = false;
    this.draw(this.place);
    const { patient: from } = this.chosen.place;
    let reading = null;
    const moved = await this.run(async () => {
      reading = await this.chosen.reading;
      const reason = this.reason.value.trim() || this.preset();
      await api.reassign(reading, { from, patient: to, reason });
    });
    if (!moved) return;
    const back = { from: to, patient: from, reason: 'undone' };
    this.undo.offer(() => t('results.moved', { what: number(reading), to: whose(to) }),
      () => api.reassign(reading, back));
  }
}

/**
 * Patients of the township who are in a bed, on a device or expected today; and who were measured
 * today, where a result is given to them.
 */
export function candidates(place, { measured = false } = {}) {
  const today = dateTime(clock.serverNow()).slice(0, 10);
  const isSeen = ({ last_result_at: at }) => measured && dayOf(at) === today;
  const bound = new Set([...store.bindings.values()].map((binding) => binding.patient));
  return [...store.patients.values()]
    .filter((one) => one.clinic === place.clinic && one.patient !== place.patient)
    .filter((one) => one.bed || bound.has(one.patient) || one.appointment === today || isSeen(one))
    // Those in beds first; of the others who was measured last.
    .sort((a, b) => Number(!a.bed) - Number(!b.bed) || compareNames(a.bed || '', b.bed || '')
      || lastAt(b) - lastAt(a));
}

/** Which number it is: several may be there. */
function number(reading) {
  const { text, unit } = shownValue(reading);
  const at = shortTime(measuredMs(reading), clock.serverNow());
  return `${[metricName(reading.metric), text, unitText(unit, t)].filter(Boolean).join(' ')} (${at})`;
}

const lastAt = ({ last_result_at: at }) => (at ? Date.parse(at) : 0);

/** A patient as a button says it, by the key; `null` is the tray. */
export function whose(key) {
  if (key === null) return t('results.tray');
  const patient = patientOf({ patient: key });
  return patient ? whoseText(patient) : t('results.other');
}

/**
 * Bed and masked name. Many have the same masked name: of somebody without a bed age, sex, and when
 * they were measured last are said too.
 */
export function whoseText(patient) {
  const name = patient.name || t('tiles.unnamed');
  if (patient.bed) return `${t('tiles.bed', { bed: patient.bed })} ${name}`;
  return `${name} · ${apartText(patient)}`;
}
