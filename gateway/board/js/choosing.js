// While somebody chooses, what they choose from stays where it is: what comes meanwhile must not slide
// another button under the finger. For a bounded time: then everything is put right once.

/** Reading some names and deciding takes no longer. */
const CHOOSING_MAX_MS = 30_000;

export class Choosing {
  constructor() {
    this.since = null;
  }

  /** Whether things stay where they are; `chooses`: whether something to choose from is open. */
  holds(chooses, nowMs) {
    if (!chooses) this.since = null;
    else if (this.since === null) this.since = nowMs;
    const isLong = chooses && nowMs - this.since >= CHOOSING_MAX_MS;
    if (isLong) this.since = null;
    return chooses && !isLong;
  }

  /** Whoever chooses asked for another order: it is put right now. */
  release() {
    if (this.since !== null) this.since = -Infinity;
  }
}

/** The list of persons to choose from that is open within an element, if one is. */
export function choiceIn(element) {
  return element.querySelector('.choice[data-open]');
}
