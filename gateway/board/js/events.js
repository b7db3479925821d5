// The stream of events and how alive the link is.
//
// Every `hello` begins with fetching everything; what comes meanwhile waits and is taken after it,
// so that an answer never overwrites what is newer.

import * as api from './api.js';
import * as clock from './clock.js';
import { LINK_LOST_MS, linkState } from './stale.js';

/** How often a stream that was lost is opened anew, where the browser does not do it. */
const REOPEN_MS = 5_000;
/** Events that wait for the fetch; more than that and it is fetched again. */
const WAITING_MAX = 5_000;
const NAMES = ['reading', 'waveform', 'alert', 'device', 'site'];

export class Events {
  /** `fetchAll()` fetches everything; `take(name, data)` takes an event; `onLoggedOut()`. */
  constructor({ fetchAll, take, onLoggedOut }) {
    this.fetchAll = fetchAll;
    this.take = take;
    this.onLoggedOut = onLoggedOut;
    this.source = null;
    this.waiting = null;
    this.lastHeard = clock.now();
    this.opened = clock.now();
    this.ready = false;
  }

  /** Opens the stream with these strips. */
  open(strips) {
    this.close();
    this.strips = strips;
    this.opened = clock.now();
    const source = new EventSource(api.eventsAddress(strips));
    this.source = source;
    const heard = (handler) => (event) => {
      if (this.source !== source) return;
      this.lastHeard = clock.now();
      handler(event.data ? JSON.parse(event.data) : {});
    };
    const serverTime = ({ server_time: at }) => clock.heardServerTime(at);
    source.addEventListener('hello', heard((data) => {
      serverTime(data);
      this.resync();
    }));
    source.addEventListener('heartbeat', heard(serverTime));
    source.addEventListener('resync', heard(() => this.resync()));
    for (const name of NAMES) {
      source.addEventListener(name, heard((data) => this.put(name, data)));
    }
  }

  close() {
    if (this.source) this.source.close();
    this.source = null;
  }

  put(name, data) {
    if (!this.waiting) this.take(name, data);
    else if (name !== 'waveform' && this.waiting.length < WAITING_MAX) this.waiting.push([name, data]);
  }

  /** Fetches everything; what comes meanwhile is taken after it. */
  async resync() {
    if (this.waiting) {
      this.again = true;
      return;
    }
    this.waiting = [];
    this.again = false;
    try {
      await this.fetchAll();
      this.ready = true;
    } catch (failure) {
      if (failure.status === 401) this.onLoggedOut();
      else this.again = true;
    }
    const waiting = this.waiting;
    this.waiting = null;
    for (const [name, data] of waiting) this.take(name, data);
    if (this.again) clock.after(REOPEN_MS, () => this.source && this.resync());
  }

  silentMs() {
    return Math.max(0, clock.now() - this.lastHeard);
  }

  state() {
    return linkState(this.silentMs());
  }

  /** Once a second: opens the stream again where it is closed or only looks open. */
  async watch() {
    if (!this.source || clock.now() - this.opened < REOPEN_MS) return;
    const closed = this.source.readyState === EventSource.CLOSED;
    const mute = this.silentMs() > LINK_LOST_MS && this.source.readyState === EventSource.OPEN;
    if (!closed && !mute) return;
    this.opened = clock.now();
    try {
      await api.session();
      if (this.source) this.open(this.strips);
    } catch (failure) {
      if (failure.status === 401) this.onLoggedOut();
    }
  }
}
