// The screen of a wall or a desk does not go to sleep while the board is open, where the browser can
// keep it awake (Chromium 84, over HTTPS). On a phone it would take the battery.

import * as clock from './clock.js';

/** What the system took away (a low battery) is asked for again. */
const AGAIN_MS = 60_000;

export class Awake {
  constructor(isWall) {
    this.wanted = 'wakeLock' in navigator
      && (isWall || !window.matchMedia('(pointer: coarse)').matches);
    this.lock = null;
    this.onSeen = () => this.take();
  }

  start() {
    if (!this.wanted) return;
    // A tab that is hidden loses it.
    document.addEventListener('visibilitychange', this.onSeen);
    this.watch();
  }

  watch() {
    if (!this.wanted) return;
    this.take();
    clock.after(AGAIN_MS, () => this.watch());
  }

  async take() {
    if (document.visibilityState !== 'visible' || (this.lock && !this.lock.released)) return;
    try {
      this.lock = await navigator.wakeLock.request('screen');
    } catch (failure) {
      // The system does not allow it now.
    }
    if (!this.wanted) this.leave();
  }

  /** The board is left. */
  close() {
    this.wanted = false;
    document.removeEventListener('visibilitychange', this.onSeen);
    this.leave();
  }

  leave() {
    if (this.lock) this.lock.release();
    this.lock = null;
  }
}
