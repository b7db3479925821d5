// Words that pages share: moments, people's names, what devices said.

import {
  dateTime, mealText, shownValue, unitText, wordOf,
} from '../format.js';
import { t } from '../i18n.js';
import { hasNumber, marksOf } from '../judged.js';
import { metricName } from '../metric-name.js';
import { between, kpaPieces, numberOf } from '../number.js';

/** `2026-11-22 09:30`, or a dash. */
export function moment(rfc3339) {
  return rfc3339 ? dateTime(Date.parse(rfc3339)) : '–';
}

/** The day of a moment where the clinics are: `2026-11-22`. */
export function dayOf(rfc3339) {
  return moment(rfc3339).slice(0, 10);
}

/** `收缩压 182 mmHg`, `血糖 5.4 mmol/L 空腹`. */
function measured(reading) {
  const { text, unit } = shownValue(reading);
  if (reading.validity === 'invalid') return [`${metricName(reading.metric)} ${t('validity.invalid')}`];
  if (!text) return [`${metricName(reading.metric)} –`];
  return between([
    [metricName(reading.metric)], [numberOf(reading)], [unitText(unit, t)], [mealText(reading, t)],
  ], ' ');
}

/**
 * A result as one line: `182/96 (125) mmHg · 脉率 88 次/分`, whose numbers say what they are, and what
 * is doubtful about them.
 */
export function resultPieces(readings) {
  const shown = readings.filter(hasNumber);
  const pressure = (name) => shown.find((one) => one.metric === `nibp_${name}` && one.value);
  const [sys, dia, mean] = ['sys', 'dia', 'mean'].map(pressure);
  const isPair = Boolean(sys && dia);
  const words = readings
    .filter((one) => one.value !== null && !(isPair && [sys, dia, mean].includes(one)))
    .map(measured);
  if (isPair) {
    const [high, low] = [sys, dia].map(numberOf);
    const middle = mean ? [' (', numberOf(mean), ')'] : [];
    words.unshift(between([[high, '/', low, ...middle], ['mmHg'], kpaPieces(high, low)], ' '));
  }
  const isSuspect = shown.some((one) => one.time_suspect);
  return between([...words, [marksOf(readings)], [isSuspect ? t('age.suspect') : '']], ' · ');
}

/** `3床 张*`; who has neither bed nor name is called by the first letters of the key. */
export function whoText({ bed, name, patient }) {
  const known = [bed && t('patient.bed', { bed }), name].filter(Boolean).join(' ');
  return known || t('patient.key', { key: String(patient).slice(0, 6) });
}

export function kindName(kind) {
  return wordOf('kind', kind, t);
}

export function roleName(role) {
  return role ? wordOf('role', role, t) : t('role.none');
}
