// Which monitors have their strip in the bed grid: all where they are few, else those that somebody
// asked for. What is shown stays when others come. Kept in this browser.

import { keep, kept } from './kept.js';

const KEPT = 'board.strips';
/** More of them, each as wide as the grid, would push the other beds off the screen. */
const FEW = 4;
/** The county sends a board no more than 64 strips; one is the drawer's. */
const SHOWN_MAX = 63;
/** Choices that are remembered: the latest. */
const KEPT_MAX = 200;

function read() {
  try {
    return new Map(JSON.parse(kept(KEPT)) || []);
  } catch (error) {
    return new Map();
  }
}

export class StripChoice {
  constructor() {
    /** By device: whether somebody wants it. */
    this.chosen = read();
    this.shown = new Set();
    /** Whether there is something to choose. */
    this.offers = false;
  }

  /** Those of these monitors, in the order of their beds, that have a strip. */
  of(monitors) {
    this.offers = monitors.length > FEW;
    const wanted = (key) => !this.offers || (this.chosen.get(key) ?? this.shown.has(key));
    this.shown = new Set(monitors.filter(wanted).slice(0, SHOWN_MAX));
    return this.shown;
  }

  toggle(key) {
    const isWanted = !this.shown.has(key);
    this.chosen.delete(key);
    this.chosen.set(key, isWanted);
    keep(KEPT, JSON.stringify([...this.chosen].slice(-KEPT_MAX)));
  }
}
