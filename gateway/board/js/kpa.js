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

/** A pressure in mmHg as it is printed, with its comparator, in kPa. */
export function kpaOf(text) {
  const [sign] = /^[<>] /.exec(text) || [''];
  return sign + (Number(text.slice(sign.length)) * KPA_OF_MMHG).toFixed(1);
}
