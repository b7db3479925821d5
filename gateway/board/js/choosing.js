// While somebody chooses, what they choose from stays where it is: what comes meanwhile must not slide
// another button under the finger. For a bounded time and once: what nobody closes holds nothing any
// more, until it is opened anew.

/** Reading some names and deciding takes no longer. */
const CHOOSING_MAX_MS = 30_000;

export class Choosing {
  constructor() {
    /** What is open, and since when. */
    this.what = null;
    this.since = 0;
    this.isAsked = false;
  }

  /** Whether things stay where they are; `what`: names what is open to choose from, else `null`. */
  holds(what, nowMs) {
    if (what !== this.what || this.isAsked) this.since = nowMs;
    this.what = what;
    const isAsked = this.isAsked;
    this.isAsked = false;
    return what !== null && !isAsked && nowMs - this.since < CHOOSING_MAX_MS;
  }

  /** Whoever chooses asked for another order: it is put right now, and stays from then. */
  release() {
    this.isAsked = this.what !== null;
  }
}

/** The list of persons to choose from that is open within an element, if one is. */
export function choiceIn(element) {
  return element.querySelector('.choice[data-open]');
}
