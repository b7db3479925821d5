// What is put into the page before the board's own code: its clock, and an ear for what it does.

/** Runs in the page. `startMs` is the time there; `kept` is what the person chose before. */
export function inPage(startMs, kept) {
  for (const [name, value] of Object.entries(kept)) {
    if (localStorage.getItem(name) === null) localStorage.setItem(name, value);
  }
  const time = {
    ms: startMs, ahead: 0, timers: [], last: 0,
  };
  window.__clinicClock = {
    now: () => time.ms + time.ahead,
    mono: () => time.ms,
    setTimeout(run, ms) {
      time.last += 1;
      time.timers.push({ id: time.last, at: time.ms + Math.max(0, ms), run });
      return time.last;
    },
    clearTimeout(id) {
      time.timers = time.timers.filter((timer) => timer.id !== id);
    },
    // A frame comes by itself, as on a screen, and before the time goes on.
    requestAnimationFrame(run) {
      const id = this.setTimeout(run, 0);
      setTimeout(() => {
        if (!time.timers.some((timer) => timer.id === id)) return;
        this.clearTimeout(id);
        run();
      }, 0);
    },
  };
  const test = {
    heard: 0,
    fetching: 0,
    sounds: [],
    silenced: [],
    contexts: [],
    shaken: [],
    now: () => time.ms,
    timers: () => time.timers.length,
    /** Lets the time go on, timer by timer. */
    async pass(ms) {
      const end = time.ms + ms;
      for (;;) {
        const due = time.timers.filter((timer) => timer.at <= end);
        if (!due.length) break;
        const next = due.reduce((a, b) => (b.at < a.at ? b : a));
        time.timers = time.timers.filter((timer) => timer !== next);
        time.ms = Math.max(time.ms, next.at);
        next.run();
        for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
      }
      time.ms = end;
    },
    /** The time goes on and no timer runs: a tab that is hidden. */
    rest(ms) {
      time.ms += ms;
    },
    /** Somebody sets the computer's clock ahead. */
    set(byMs) {
      time.ahead += byMs;
    },
    /** The first element of that kind that can be seen. */
    seen(css) {
      return [...document.querySelectorAll(css)].find((element) => (
        element.getClientRects().length > 0 || element.closest('.unseen')));
    },
  };
  window.__test = test;

  // What the board has taken of the newest stream.
  const Real = window.EventSource;
  window.EventSource = class extends Real {
    constructor(address) {
      super(address);
      test.heard = 0;
      test.stream = this;
      // The browser opens it again by itself; the county counts from the beginning.
      super.addEventListener('error', () => {
        if (test.stream === this) test.heard = 0;
      });
    }

    addEventListener(name, run) {
      super.addEventListener(name, (event) => {
        run(event);
        if (test.stream === this) test.heard += 1;
      });
    }
  };

  // What is being fetched and not taken yet.
  const { fetch } = window;
  window.fetch = async (address, options = {}) => {
    const asks = (options.method ?? 'GET') === 'GET';
    if (asks) test.fetching += 1;
    try {
      const answer = await fetch(address, options);
      if (asks) await answer.clone().text();
      return answer;
    } finally {
      if (asks) setTimeout(() => (test.fetching -= 1), 0);
    }
  };

  // What sounded, by the page's clock; each pattern has its own length.
  const { start, stop } = AudioBufferSourceNode.prototype;
  AudioBufferSourceNode.prototype.start = function sounds(...when) {
    if (this.context instanceof AudioContext) {
      test.sounds.push({ at: time.ms, seconds: this.buffer.duration });
    }
    return start.apply(this, when);
  };
  AudioBufferSourceNode.prototype.stop = function falls(...when) {
    test.silenced.push({ at: time.ms, seconds: this.buffer.duration });
    return stop.apply(this, when);
  };
  const RealContext = window.AudioContext;
  window.AudioContext = class extends RealContext {
    constructor(...options) {
      super(...options);
      test.contexts.push(this);
    }
  };
  navigator.vibrate = (pattern) => {
    test.shaken.push({ at: time.ms, pattern });
    return true;
  };
}
