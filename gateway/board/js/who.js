// By what a patient is known where names are masked: age, sex, when they were measured last; and
// whether their bed and name alone would do.

import { ageParts } from './beds.js';
import * as clock from './clock.js';
import { shortTime } from './format.js';
import { t } from './i18n.js';
import { store } from './store.js';

/** Age and sex. */
export function aboutText(patient) {
  const age = ageParts(patient.age_months);
  return [
    age ? t(`patient.age.${age.unit}`, { n: age.n }) : t('patient.age.unknown'),
    patient.sex === 'unknown' ? '' : t(`patient.sex.${patient.sex}`),
  ].filter(Boolean).join(' ');
}

/** What tells somebody from others of the same masked name. */
export function apartText(patient) {
  const { last_result_at: at } = patient;
  return [
    aboutText(patient),
    at ? t('results.measured_last', { at: shortTime(Date.parse(at), clock.serverNow()) }) : '',
  ].filter(Boolean).join(' · ');
}

const counted = new WeakMap();
const keyOf = ({ name }, bed) => `${bed || ''}/${name || ''}`;

/** Whether the board knows somebody else of the same bed, or without one, and the same masked name. */
export function hasNamesake(patient, bed = patient.bed) {
  const { patients } = store;
  if (!counted.has(patients)) {
    const keys = new Map();
    for (const one of patients.values()) {
      const key = keyOf(one, one.bed);
      keys.set(key, [...(keys.get(key) ?? []), one.patient]);
    }
    counted.set(patients, keys);
  }
  const same = counted.get(patients).get(keyOf(patient, bed)) ?? [];
  return same.some((key) => key !== patient.patient);
}
