// Blocks of curves on their way to the strips: while it is not known on whom the monitors are, they
// wait, so that no beat stands under another's name and none is lost.

import { deviceKey } from './store.js';

/** Blocks that wait: ten seconds of the strips that a board watches at most. */
const WAVES_MAX = 640;

export class Waves {
  /** `strips()`: those that are shown. */
  constructor(strips) {
    this.strips = strips;
    /** Whether on whom the devices are is known. */
    this.known = false;
    this.waiting = [];
  }

  /** Somebody changed on whom the devices are. */
  hold() {
    this.known = false;
  }

  take(wave) {
    if (!this.known) {
      this.waiting = [...this.waiting, wave].slice(-WAVES_MAX);
      return;
    }
    const { site, blocks, heard_ms: heardMs } = wave;
    for (const block of blocks) {
      const key = deviceKey({ site, ...block });
      const strips = this.strips().filter((strip) => deviceKey(strip.device) === key);
      for (const strip of strips) strip.take(block, heardMs);
    }
  }

  release() {
    this.known = true;
    for (const wave of this.waiting.splice(0)) this.take(wave);
  }
}
