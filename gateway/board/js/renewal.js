// Pages without events, those of administrators and the log-in form, ask by themselves of which
// program the county is, and begin anew where it has another: never under somebody who types.

import * as api from './api.js';
import * as clock from './clock.js';
import { Program } from './program.js';
import { Touch } from './touch.js';

const ASK_MS = 60_000;
/** Nobody has touched it for so long. */
const ALONE_MS = 30_000;

export class Renewal {
  /** `element`: what is on screen while this is so; `isFree()`: nothing else is in anybody's hands. */
  constructor(element, isFree = () => true) {
    Object.assign(this, { element, isFree });
    this.program = new Program();
    this.touch = new Touch();
  }

  start() {
    this.touch.start();
    this.watch();
  }

  watch() {
    this.program.draw();
    clock.after(ASK_MS, async () => {
      if (!this.element.isConnected) {
        this.touch.close();
        return;
      }
      this.watch();
      this.program.heard(await api.boardThere());
      if (this.program.isOld() && this.isAlone()) {
        this.program.carryOver();
        window.location.reload();
      }
    });
  }

  isAlone() {
    return this.element.isConnected && this.touch.agoMs() >= ALONE_MS && this.isFree()
      && !isHalfFilled(this.element);
  }
}

/** Whether somebody typed or chose something there that is not sent. */
export function isHalfFilled(element) {
  const fields = [...element.querySelectorAll('input, textarea, select')];
  return fields.some((field) => {
    if (field.matches('select')) {
      const usual = [...field.options].findIndex((option) => option.defaultSelected);
      return field.selectedIndex !== Math.max(0, usual);
    }
    return field.value !== field.defaultValue || field.checked !== field.defaultChecked;
  });
}
