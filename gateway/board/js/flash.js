// The flash of what nobody has in hand: its light is taken off and put on again, 2 Hz and 0.6 Hz, half
// the time each (nurse board, chapter 3). An animation of the style sheet would do the same, and have
// the whole page drawn sixty times a second for it.

import * as clock from './clock.js';
import { set } from './dom.js';

/** How long it is light, and how long dark. */
const HALF_MS = { high: 250, medium: 833 };

export class Flash {
  /** `element`: around what flashes; while `isOn()`. */
  constructor(element, isOn) {
    Object.assign(this, { element, isOn });
  }

  start() {
    for (const priority of Object.keys(HALF_MS)) this.turn(priority, false);
  }

  turn(priority, isDark) {
    if (!this.isOn()) return;
    clock.after(HALF_MS[priority], () => this.turn(priority, !isDark));
    set(this.element, `data-dark-${priority}`, isDark);
  }
}
