// What was acknowledged without a link and waits for it. This browser keeps it over a reload and a
// log-out, and it is sent for who said it alone. No name and no words that a person typed are kept.

import * as clock from './clock.js';

const KEPT = 'board.offline.';
/** After a shift nobody can say any more that they have it in hand. */
export const TOO_OLD_MS = 12 * 3_600_000;
/** Whoever has not been back for a week is told nothing any more. */
const FORGOTTEN_MS = 7 * 24 * 3_600_000;

/** What the browser keeps of a person: by alert `{reason, priority, again, at, noted}`. */
function read(person) {
  try {
    return Object.entries(JSON.parse(localStorage.getItem(KEPT + person)) || {});
  } catch (error) {
    return [];
  }
}

/** How often it has sounded anew: what was said before that is not said of it. */
export function againOf({ realarm_count: realarms = 0, recurrences = 0 }) {
  return realarms + recurrences;
}

/** How many wait for another person than this one. What is old its own person hears of. */
export function waitingOfOthers(person = null) {
  const names = Object.keys(localStorage).filter((key) => key.startsWith(KEPT))
    .map((key) => key.slice(KEPT.length));
  const fresh = (kept) => kept.filter(([, one]) => clock.serverNow() - one.at < TOO_OLD_MS).length;
  return names.filter((name) => name !== person).reduce((sum, name) => {
    const kept = read(name);
    if (kept.every(([, one]) => clock.serverNow() - one.at > FORGOTTEN_MS)) {
      localStorage.removeItem(KEPT + name);
    }
    return sum + fresh(kept);
  }, 0);
}

export class Offline {
  constructor(person) {
    this.person = person;
    this.items = new Map(read(person));
    /** Whether it outlives a reload. */
    this.isKept = true;
  }

  has(id) {
    return this.items.has(id);
  }

  said(id) {
    return this.items.get(id);
  }

  get size() {
    return this.items.size;
  }

  entries() {
    return [...this.items];
  }

  set(alert, { reason, note }) {
    const { id, priority } = alert;
    const item = {
      reason, priority, again: againOf(alert), at: clock.serverNow(), noted: note !== '',
    };
    this.items.set(id, { ...item, note });
    this.keep((kept) => kept.set(id, item));
  }

  delete(id) {
    if (this.items.delete(id)) this.keep((kept) => kept.delete(id));
  }

  /** The board is left: what is kept waits until the person is back. */
  leave() {
    this.items.clear();
  }

  /** Another tab may have changed it meanwhile. */
  keep(change) {
    const kept = new Map(read(this.person));
    change(kept);
    try {
      if (kept.size) {
        localStorage.setItem(KEPT + this.person, JSON.stringify(Object.fromEntries(kept)));
      } else localStorage.removeItem(KEPT + this.person);
    } catch (error) {
      this.isKept = false;
    }
  }
}
