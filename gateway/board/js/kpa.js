// Blood pressure in kPa, in brackets behind the mmHg: an option of this browser. Axes stay in mmHg.

import { keep, kept } from './kept.js';

const KEPT = 'board.kpa';
const KPA_OF_MMHG = 0.133322;

export function showsKpa() {
  return kept(KEPT) === 'on';
}

export function toggleKpa() {
  keep(KEPT, showsKpa() ? 'off' : 'on');
}

/**
 * `(24.0/14.7 kPa)` of pressures in mmHg as they are printed, `(24.0/-- kPa)` where one of two is not
 * known: alone it would not say which it is. Empty where nobody wants it, or nothing is known.
 */
export function kpaText(...texts) {
  if (!texts.some(Boolean) || !showsKpa()) return '';
  const numbers = texts.map((text) => {
    if (!text) return '--';
    const [sign] = /^[<>] /.exec(text) || [''];
    return sign + (Number(text.slice(sign.length)) * KPA_OF_MMHG).toFixed(1);
  });
  return `(${numbers.join('/')} kPa)`;
}
