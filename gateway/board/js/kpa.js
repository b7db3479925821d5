// Blood pressure in kPa, in brackets behind the mmHg: an option of this browser. Axes stay in mmHg.

const KEPT = 'board.kpa';
const KPA_OF_MMHG = 0.133322;

export function showsKpa() {
  return localStorage.getItem(KEPT) === 'on';
}

export function toggleKpa() {
  localStorage.setItem(KEPT, showsKpa() ? 'off' : 'on');
}

/** `(24.0/14.7 kPa)` of pressures in mmHg as they are printed; empty where nobody wants it. */
export function kpaText(...texts) {
  const known = texts.filter((text) => text !== null && text !== undefined && text !== '');
  if (!known.length || !showsKpa()) return '';
  const [sign] = /^[<>] /.exec(known[0]) || [''];
  const numbers = known.map((text) => (Number(text.replace(/^[<>] /, '')) * KPA_OF_MMHG).toFixed(1));
  return `(${sign}${numbers.join('/')} kPa)`;
}
