// The stream of events and how alive the link is.
//
// Every `hello` begins with fetching everything; what comes meanwhile waits and is taken after it,
// so that an answer never overwrites what is newer. Until that fetch has succeeded the page does
// not know the present, and the link counts as slow, then lost.

import * as api from './api.js';
import * as clock from './clock.js';
import { LINK_LOST_MS, LINK_SLOW_MS, linkState, worstLink } from './stale.js';
import { store } from './store.js';

/** How often a stream that was lost is opened anew, where the browser does not do it. */
const REOPEN_MS = 5_000;
/** What was under way on the stream before comes within this. */
const OVERLAP_MS = 1_000;
/** Events that wait for the fetch; more than that and it is fetched again. */
const WAITING_MAX = 5_000;
/** How often the county is asked for its time and whether the session still holds. */
const ASK_MS = 60_000;
/** Readings of a device nobody told us of: everything is fetched, at most this often. */
const SOON_MS = 5_000;
const NAMES = ['reading', 'pending', 'waveform', 'alert', 'device', 'site', 'broker', 'disk',
  'sink', 'patients', 'boards'];
/** Never held back by a fetch that is slow. */
const AT_ONCE = ['alert', 'broker', 'disk', 'sink', 'boards'];

export class Events {
  /**
   * `fetchAll()` fetches everything; `take(name, data)` takes an event; `onBeat()`: the county lives;
   * `onSynced()`: the fetch and what came meanwhile are taken; `onSilence(ms)`: the stream begins again
   * after so long that the link was lost; `onProgram(board)`: of which program the county is;
   * `onRestored()`: it is another county, restored from a backup; `onLoggedOut()`; `onFault(error)`: an
   * event could not be understood. `Source` is the browser's EventSource.
   */
  constructor({
    fetchAll, take, onBeat, onSynced, onSilence, onProgram, onRestored, onLoggedOut, onFault,
    Source = globalThis.EventSource,
  }) {
    Object.assign(this, {
      fetchAll, take, onBeat, onSynced, onSilence, onProgram, onRestored, onLoggedOut, onFault, Source,
    });
    this.generation = null;
    this.source = null;
    /** The stream that was open before: what it still brings is not lost. */
    this.before = null;
    this.strips = [];
    this.waiting = null;
    this.again = false;
    this.failed = false;
    this.asking = false;
    this.repairing = false;
    this.soon = false;
    this.soonAt = 0;
    this.delayMs = 0;
    const nowMs = clock.now();
    this.lastHeard = nowMs;
    this.opened = nowMs;
    this.asked = nowMs;
    /** Since when the page does not know the present; `null` while it does. */
    this.behindSince = nowMs;
  }

  /** Opens the stream with these strips; the one before is heard until this one speaks. */
  open(strips) {
    this.closeBefore();
    this.before = this.source;
    this.strips = strips;
    this.opened = clock.now();
    const source = new this.Source(api.eventsAddress(strips));
    this.source = source;
    /** `fetches`: the handler does what a stream that stalled and goes on has to do. */
    const heard = (handler, fetches = false) => (event) => {
      if (![this.source, this.before].includes(source)) return;
      const silentMs = this.silentMs();
      this.lastHeard = clock.now();
      this.guarded(() => {
        // In a tab that is hidden nothing else may have looked meanwhile.
        if (silentMs > LINK_LOST_MS) {
          this.onSilence(silentMs);
          if (!fetches) this.resync();
        }
        handler(event.data ? JSON.parse(event.data) : {});
      });
    };
    const serverTime = ({ server_time: at }) => {
      this.delayMs = clock.heardServerTime(at);
    };
    source.addEventListener('hello', heard((data) => {
      serverTime(data);
      this.onProgram(data.board);
      if (this.source !== source) return;
      const { generation } = data;
      if (this.generation !== null && generation !== this.generation) this.onRestored();
      this.generation = generation;
      clock.after(OVERLAP_MS, () => this.source === source && this.closeBefore());
      this.resync();
    }, true));
    source.addEventListener('heartbeat', heard((data) => {
      serverTime(data);
      this.onBeat();
    }));
    // What was missed before the stream began is in what its `hello` fetches.
    source.addEventListener('resync', heard(({ lagging }) => {
      if (lagging !== false) this.resync();
    }));
    for (const name of NAMES) {
      source.addEventListener(name, heard((data) => this.put(name, data)));
    }
  }

  close() {
    this.closeBefore();
    if (this.source) this.source.close();
    this.source = null;
  }

  closeBefore() {
    if (this.before) this.before.close();
    this.before = null;
  }

  put(name, data) {
    if (!this.waiting) {
      this.take(name, data);
      return;
    }
    if (AT_ONCE.includes(name)) this.take(name, data);
    // It was heard now: a strip counts its delay from this.
    const heard = name === 'waveform' ? { ...data, heard_ms: clock.serverNow() } : data;
    if (this.waiting.length < WAITING_MAX) this.waiting.push([name, heard]);
    else this.again = true;
  }

  /** What cannot be taken is told, and everything is fetched anew. */
  guarded(run) {
    try {
      run();
    } catch (error) {
      this.onFault(error);
      if (this.repairing) return;
      this.repairing = true;
      clock.after(REOPEN_MS, () => {
        this.repairing = false;
        if (this.source) this.resync();
      });
    }
  }

  /** Fetches everything: at once, or as soon as the last such fetch is long enough ago. */
  resyncSoon() {
    if (this.soon) return;
    this.soon = true;
    clock.after(Math.max(0, this.soonAt - clock.now()), () => {
      this.soon = false;
      this.soonAt = clock.now() + SOON_MS;
      if (this.source) this.resync();
    });
  }

  /** Fetches everything; what comes meanwhile is taken after it. */
  async resync() {
    if (this.behindSince === null) this.behindSince = clock.now();
    if (this.waiting) {
      this.again = true;
      return;
    }
    this.waiting = [];
    this.again = false;
    try {
      await this.fetchAll();
      this.failed = false;
    } catch (failure) {
      if (failure.status === 401) this.onLoggedOut();
      else {
        this.again = true;
        this.failed = true;
        if (failure.status === undefined) this.onFault(failure);
      }
    }
    const waiting = this.waiting;
    this.waiting = null;
    for (const [name, data] of waiting) this.guarded(() => this.take(name, data));
    if (!this.failed) this.behindSince = this.again ? clock.now() : null;
    if (this.again) clock.after(REOPEN_MS, () => this.source && this.resync());
    this.guarded(() => this.onSynced());
  }

  /** How old the newest message is. */
  silentMs() {
    return clock.now() - this.lastHeard + this.delayMs;
  }

  /** For how long the page has not known the present. */
  behindMs() {
    return this.behindSince === null ? 0 : clock.now() - this.behindSince;
  }

  /** How old what is on screen may be. */
  oldMs() {
    return Math.max(this.silentMs(), this.behindMs());
  }

  /** `known`, `loading` or `failed`: whether what is on screen is the present. */
  knowledge() {
    // What came meanwhile is not known, whatever the last fetch said.
    if (linkState(this.oldMs()) === 'lost') return 'failed';
    if (this.behindSince === null) return 'known';
    return this.failed ? 'failed' : 'loading';
  }

  state() {
    return worstLink(linkState(this.oldMs()), this.failed ? 'slow' : 'live');
  }

  /** Once a second: opens the stream again where it is closed or only looks open. */
  async watch() {
    if (!this.source) return;
    const nowMs = clock.now();
    if (nowMs - this.opened < REOPEN_MS) return;
    const closed = this.source.readyState === this.Source.CLOSED;
    // One that tries to connect for ever is left to the browser for a while only.
    const mute = this.silentMs() > LINK_LOST_MS && nowMs - this.opened > LINK_SLOW_MS;
    if (closed || mute) await this.reopen();
    else if (nowMs - this.asked > ASK_MS) await this.ask();
  }

  async reopen() {
    this.opened = clock.now();
    if (!await this.ask() || !this.source) return;
    // It is dead: there is nothing to hear from it.
    this.close();
    this.open(this.strips);
  }

  /** Whether the county answers; its answer corrects the clock. */
  async ask() {
    if (this.asking) return false;
    this.asking = true;
    this.asked = clock.now();
    try {
      const { name, has_pin: hasPin, ends_at: endsAt } = await api.session();
      // In another tab somebody else has logged in: what is done here would be done as them.
      if (!store.user) return true;
      if (store.user.name === name) {
        // At another board they may have taken it away, in another tab have logged in anew.
        Object.assign(store.user, { has_pin: hasPin, ends_at: endsAt });
        return true;
      }
      this.onLoggedOut('other');
      return false;
    } catch (failure) {
      if (failure.status === 401) this.onLoggedOut();
      return false;
    } finally {
      this.asking = false;
    }
  }
}
