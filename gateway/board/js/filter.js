// Which townships are shown, as each person chose. What is left out is still counted and still
// sounds: a filter hides no danger.

import { keep, kept } from './kept.js';

const KEPT = 'board.townships.';

let owner = '';
let chosen = new Set();

/** The township of a site, device or alert. */
export function townOf({ clinic, site }) {
  return clinic || site;
}

/** Takes what the person chose last. */
export function loadFilter(person) {
  owner = person;
  try {
    chosen = new Set(JSON.parse(kept(KEPT + owner)) || []);
  } catch (error) {
    chosen = new Set();
  }
}

/** The townships that are shown; all where none is chosen. */
export function shownTowns() {
  return [...chosen];
}

export function isShown(of) {
  return !chosen.size || chosen.has(townOf(of));
}

/** Shows these only; all where there are none. */
export function showTowns(towns) {
  chosen = new Set(towns);
  keep(KEPT + owner, JSON.stringify([...chosen]));
}
