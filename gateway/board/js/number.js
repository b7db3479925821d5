// Every number of a patient on the page says which metric it is, how old and how stale it is (nurse
// board, chapter 10). Lines of words and numbers are made here; so are the kPa behind a pressure.

import * as clock from './clock.js';
import { put, set } from './dom.js';
import { shownValue } from './format.js';
import { t } from './i18n.js';
import { kpaOf, showsKpa } from './kpa.js';
import { measuredMs } from './order.js';
import {
  ageOf, isAhead, ruleOf, staleness,
} from './stale.js';
import {
  deviceKey, kindOf, knownMs, store,
} from './store.js';

/** Says of an element that holds a number what the number is. */
export function stamp(element, { metric, ageMs, stale, inUnit = null }) {
  set(element, 'data-metric', metric);
  set(element, 'data-age-s', ageMs === null ? null : Math.max(0, Math.floor(ageMs / 1000)));
  set(element, 'data-stale', stale);
  // Only where it is printed in another unit than it was compared in.
  set(element, 'data-unit', inUnit);
}

/**
 * A number within a line: `text` of `metric` as it was at a moment. `of` names its device, by whose
 * kind and pace it grows stale.
 */
export function numberAt(text, metric, atMs, of = {}) {
  const device = store.devices.get(deviceKey(of));
  const rule = ruleOf(kindOf(metric), device?.kind);
  return {
    text, metric, at: atMs, rule, intervalMs: device?.expected_interval_ms,
  };
}

/** The number of a reading as it was compared with the limits. */
export function numberOf(reading) {
  const number = numberAt(shownValue(reading).text, reading.metric, measuredMs(reading), reading);
  return { ...number, reading };
}

/** ` (24.0/14.7 kPa)`: of a pressure that is not known `--`; nothing where nobody wants it. */
export function kpaPieces(...numbers) {
  if (!numbers.some((number) => number?.text) || !showsKpa()) return [];
  const pieces = numbers.map((number) => (
    number?.text ? { ...number, text: kpaOf(number.text), inUnit: 'kPa' } : '--'));
  return ['(', ...between(pieces.map((piece) => [piece]), '/'), ' kPa)'];
}

/** Lists of pieces as one, with a word between those that have something. */
export function between(lists, word) {
  return lists.filter((list) => list.some((piece) => piece !== ''))
    .flatMap((list, index) => (index ? [word, ...list] : list));
}

/** A text of the page, as pieces: each `{name}` of `lists` is filled with pieces. */
export function filled(key, lists, values = {}) {
  const marks = Object.fromEntries(Object.keys(lists).map((name) => [name, `\n${name}\n`]));
  return t(key, { ...values, ...marks }).split('\n')
    .flatMap((part, index) => (index % 2 ? lists[part] : [part]));
}

/** Makes an element hold these words and numbers; what is the same stays. */
export function putLine(element, pieces) {
  const wanted = pieces.filter((piece) => piece !== '');
  const isSame = wanted.length === element.childNodes.length && wanted.every((piece, index) => (
    (typeof piece === 'string') === (element.childNodes[index].nodeType === Node.TEXT_NODE)));
  if (!isSame) {
    element.replaceChildren(...wanted.map((piece) => (
      typeof piece === 'string' ? '' : document.createElement('span'))));
  }
  wanted.forEach((piece, index) => {
    const node = element.childNodes[index];
    if (typeof piece !== 'string') show(node, piece);
    else if (node.data !== piece) node.data = piece;
  });
  return element;
}

function show(element, number) {
  element.number = number;
  set(element, 'class', 'number-at');
  put(element, number.text);
  age(element, clock.serverNow());
}

function age(element, nowMs) {
  const {
    metric, at, rule, intervalMs, inUnit, reading,
  } = element.number;
  const ageMs = ageOf(at, nowMs, reading && knownMs(reading));
  const stale = staleness(rule, ageMs, intervalMs);
  stamp(element, {
    metric, ageMs, stale: stale === 'fresh' && isAhead(at, nowMs) ? 'ageing' : stale, inUnit,
  });
}

/** Once a second: the numbers in lines grow older. */
export function ageNumbers(root) {
  const nowMs = clock.serverNow();
  for (const element of root.querySelectorAll('.number-at')) if (element.number) age(element, nowMs);
}
