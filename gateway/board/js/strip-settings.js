// Paper speed, gain, and how large this screen is: kept in this browser, the same for all strips.

import { arrange, h, put, set } from './dom.js';
import { t } from './i18n.js';
import { keep, kept } from './kept.js';
import { GAINS, SPEEDS, paperOf } from './strip-layout.js';

const KEPT = 'board.paper';
const PX_PER_MM = 4;

let chosen = null;

function settings() {
  if (chosen) return chosen;
  let read = {};
  try {
    read = JSON.parse(kept(KEPT) || '{}');
  } catch (error) {
    read = {};
  }
  chosen = {
    speed: SPEEDS.includes(read.speed) ? read.speed : 25,
    gain: GAINS.includes(read.gain) ? read.gain : 10,
    pxPerMm: read.pxPerMm >= 2 && read.pxPerMm <= 12 ? read.pxPerMm : null,
    ratio: read.ratio ?? null,
  };
  return chosen;
}

function choose(change) {
  chosen = { ...settings(), ...change };
  keep(KEPT, JSON.stringify(chosen));
}

/** Pixels of a millimetre, where somebody held a card to this screen as it is: zoom makes it another. */
function measured() {
  const { pxPerMm, ratio } = settings();
  return ratio === window.devicePixelRatio ? pxPerMm : null;
}

/** Somebody held a card to this screen. */
export function calibrate(pxPerMm) {
  choose({ pxPerMm, ratio: window.devicePixelRatio });
}

export function isCalibratedScreen() {
  return measured() !== null;
}

/** The paper as it was chosen. */
export function paper() {
  const { speed, gain } = settings();
  return paperOf({ speed, gain, pxPerMm: measured() ?? PX_PER_MM });
}

/** The paper of what has no scale in millivolts: no gain. */
export function unscaled() {
  return { ...paper(), gain: null };
}

/** The two choices above a strip. */
export class Choices {
  /** `onChange()`: another paper is wanted. */
  constructor(onChange = () => {}) {
    this.speed = h('select', {
      class: 'speed',
      onchange: () => {
        choose({ speed: Number(this.speed.value) });
        onChange();
      },
    });
    this.gain = h('select', {
      class: 'gain',
      onchange: () => {
        choose({ gain: Number(this.gain.value) });
        onChange();
      },
    });
    this.element = h('span', { class: 'paper-choices' }, this.speed, this.gain);
  }

  draw(hasScale) {
    const { speed, gain } = settings();
    options(this.speed, SPEEDS, speed, 'mm/s');
    set(this.speed, 'aria-label', t('strip.speed'));
    set(this.gain, 'hidden', !hasScale);
    options(this.gain, hasScale ? GAINS : [], gain, 'mm/mV');
    set(this.gain, 'aria-label', t('strip.gain'));
  }
}

function options(select, values, chosen, unit) {
  arrange(select, values.map((value, index) => {
    const option = select.children[index] || h('option');
    set(option, 'value', value);
    put(option, `${value} ${unit}`);
    return option;
  }));
  if (select.value !== String(chosen)) select.value = String(chosen);
}
