// What this board is called: chosen once at this computer, else as whoever is logged in. It stands
// in the story of what is done here.

import { keep, kept } from './kept.js';

const KEPT = 'board.name';
/** The county takes no longer one. */
export const NAME_MAX = 32;

let owner = '';

const cut = (name) => [...name.replace(/\p{Cc}/gu, '').trim()].slice(0, NAME_MAX).join('');

/** Who is logged in. */
export function loadBoardName(person) {
  owner = person;
}

/** The name that somebody chose, or none. */
export function chosenName() {
  return cut(kept(KEPT) || '');
}

export function boardName() {
  return chosenName() || cut(owner);
}

export function nameBoard(name) {
  keep(KEPT, cut(name));
}
