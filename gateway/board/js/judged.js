// What of a reading may be on screen now, how old it is, and what is doubtful about it.

import * as clock from './clock.js';
import {
  ageText, mealText, noDataText, shortTime, shownValue, wordOf,
} from './format.js';
import { t } from './i18n.js';
import { measuredMs } from './order.js';
import {
  ageOf, isAhead, isHidden, ruleOf, staleness,
} from './stale.js';
import { isPending, kindOf, knownMs } from './store.js';

/**
 * A reading as it may be shown: `text` is `null` where there is no number to show, and `reason`
 * says why where the device or the rules of the catalogue said so.
 */
export function judged(reading, device, nowMs = clock.serverNow()) {
  const kind = kindOf(reading.metric);
  const rule = ruleOf(kind, device.kind);
  const at = measuredMs(reading);
  const suspect = reading.time_suspect || isAhead(at, nowMs);
  const ageMs = ageOf(at, nowMs, knownMs(reading));
  const timeUnknown = reading.context?.time === 'unknown';
  const intervalMs = device.expected_interval_ms;
  const fresh = staleness(rule, ageMs, intervalMs);
  const doubted = timeUnknown || suspect;
  const part = {
    metric: reading.metric, rule, intervalMs, at, ageMs, timeUnknown, suspect,
    stale: doubted && fresh === 'fresh' ? 'ageing' : fresh,
    // How it goes on nobody knows where nothing is heard any more.
    pending: fresh === 'fresh' && isPending(reading),
    hidden: isHidden(rule, ageMs, intervalMs), unit: '', text: null, reason: '', meal: mealText(reading, t),
  };
  if (reading.no_data) part.reason = noDataText(reading.no_data, t);
  else if (part.hidden) part.reason = '';
  else if (reading.validity === 'invalid') part.reason = t('validity.invalid');
  else {
    const { text, unit } = shownValue(reading);
    part.raw = text;
    part.text = kind === 'state' ? wordOf(`value.${reading.metric}`, text, t) : text;
    part.unit = unit;
  }
  return part;
}

/** Whether a reading has a number that may be shown. */
export function hasNumber({ value, validity }) {
  return value !== null && validity !== 'invalid';
}

/** Doubts and circumstances of the values among these that may be shown, wherever they stand. */
export function marksOf(readings) {
  const shown = readings.filter(hasNumber);
  const words = ['questionable', 'calibrating']
    .filter((doubt) => shown.some(({ validity }) => validity === doubt))
    .map((doubt) => t(`validity.${doubt}`));
  for (const { context } of shown) {
    for (const [key, value] of Object.entries(context || {})) {
      // The slot is in the tile's head, once.
      if (key === 'slot' || value === '0' || !t.has(`context.${key}`)) continue;
      words.push(t(`context.${key}`, { value: String(value) }));
    }
  }
  return [...new Set(words)].join(' · ');
}

/** When it was measured, or how long there has been nothing. */
export function ageLine(part, nowMs) {
  if (part.timeUnknown) return t('age.unknown', { at: shortTime(part.at, nowMs) });
  const age = ageText(part.ageMs, t);
  const suspect = part.suspect ? ` · ${t('age.suspect')}` : '';
  if (part.rule === 'spot') {
    const coarse = ageText(part.ageMs, t, true);
    return t('age.spot', { at: shortTime(part.at, nowMs), age: coarse }) + suspect;
  }
  if (part.hidden) return t('age.hidden', { age });
  return t(part.stale === 'ageing' ? 'age.ageing' : 'age.fresh', { age }) + suspect;
}
