// When somebody was at the page last: a press, a key, the wheel.

import * as clock from './clock.js';

const TOUCHES = ['pointerdown', 'keydown', 'wheel'];
/** Nobody waits for these listeners: a wheel that did would scroll late. */
const HOW = { capture: true, passive: true };

export class Touch {
  constructor() {
    this.lastMs = clock.now();
    this.onTouch = () => {
      this.lastMs = clock.now();
    };
  }

  start() {
    for (const kind of TOUCHES) document.addEventListener(kind, this.onTouch, HOW);
  }

  close() {
    for (const kind of TOUCHES) document.removeEventListener(kind, this.onTouch, HOW);
  }

  agoMs() {
    return clock.now() - this.lastMs;
  }
}
