import assert from 'node:assert/strict';
import test, { beforeEach } from 'node:test';

// The page's clock, in the test's hand.
const time = { ms: 1_000_000, timers: [] };
globalThis.window = {
  __clinicClock: {
    now: () => time.ms,
    setTimeout: (run, ms) => time.timers.push({ at: time.ms + ms, run }),
    clearTimeout: () => {},
  },
};
const { Events } = await import('../js/events.js');
const { Failure } = await import('../js/api.js');

async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

async function pass(ms) {
  time.ms += ms;
  const due = time.timers.filter((timer) => timer.at <= time.ms);
  time.timers = time.timers.filter((timer) => timer.at > time.ms);
  for (const { run } of due) run();
  await settle();
}

/** An EventSource that says what the test says. */
class Source {
  static CLOSED = 2;

  constructor() {
    this.readyState = 1;
    this.handlers = {};
    Source.opened.push(this);
  }

  addEventListener(name, handler) {
    this.handlers[name] = handler;
  }

  close() {
    this.readyState = Source.CLOSED;
  }

  say(name, data) {
    this.handlers[name]({ data: typeof data === 'string' ? data : JSON.stringify(data || {}) });
  }
}

/** The parts of a board: what the events took, and fetches that wait for the test. */
function board() {
  const seen = { taken: [], fetches: [], silences: [], synced: 0, faults: 0, loggedOut: 0 };
  const events = new Events({
    onBeat: () => {},
    fetchAll: () => new Promise((done, fail) => {
      seen.fetches.push({ done, fail });
    }),
    take: (name, data) => {
      if (data.bad) throw new Error('cannot be taken');
      seen.taken.push([name, data.n]);
    },
    onSynced: () => {
      seen.synced += 1;
    },
    onSilence: (ms) => seen.silences.push(ms),
    onProgram: () => {},
    onLoggedOut: () => {
      seen.loggedOut += 1;
    },
    onFault: () => {
      seen.faults += 1;
    },
    Source,
  });
  events.open([]);
  return { events, seen, source: Source.opened[Source.opened.length - 1] };
}

beforeEach(() => {
  Source.opened = [];
  time.timers = [];
});

test('a stream that begins again says for how long nobody spoke, if the link was lost', async () => {
  const { seen, source } = board();
  source.say('hello');
  await pass(20_000);
  source.say('hello');
  assert.deepEqual(seen.silences, []);
  // No timer ran meanwhile.
  time.ms += 21_000;
  source.say('hello');
  assert.deepEqual(seen.silences, [21_000]);
});

test('a stream that goes on after a stall is told and fetched for too, though it does not begin again', async () => {
  const { seen, source } = board();
  source.say('hello');
  seen.fetches[0].done();
  await settle();
  const fetched = seen.fetches.length;
  source.say('heartbeat');
  assert.deepEqual([seen.silences, seen.fetches.length], [[], fetched]);
  time.ms += 21_000;
  source.say('heartbeat');
  assert.deepEqual([seen.silences, seen.fetches.length], [[21_000], fetched + 1]);
});

test('nothing is known until everything was fetched', async () => {
  const { events, seen, source } = board();
  assert.equal(events.knowledge(), 'loading');
  source.say('hello');
  seen.fetches[0].done();
  await settle();
  assert.equal(events.knowledge(), 'known');
  assert.equal(seen.synced, 1);
});

test('a fetch that hangs makes the link slow, then lost, though messages come', async () => {
  const { events, source } = board();
  source.say('hello');
  await pass(10_001);
  source.say('heartbeat');
  assert.equal(events.state(), 'slow');
  await pass(10_000);
  source.say('heartbeat');
  assert.equal(events.state(), 'lost');
  assert.equal(events.knowledge(), 'failed');
});

test('a fetch that failed is told at once and tried again', async () => {
  const { events, seen, source } = board();
  source.say('hello');
  seen.fetches[0].fail(new Failure(500, {}));
  await settle();
  assert.equal(events.knowledge(), 'failed');
  assert.equal(events.state(), 'slow');
  await pass(5_000);
  seen.fetches[1].done();
  await settle();
  assert.equal(events.knowledge(), 'known');
  assert.equal(events.state(), 'live');
});

test('alerts do not wait for a slow fetch, and are taken again after it', async () => {
  const { seen, source } = board();
  source.say('hello');
  source.say('alert', { n: 1 });
  source.say('reading', { n: 2 });
  source.say('broker', { n: 3 });
  assert.deepEqual(seen.taken, [['alert', 1], ['broker', 3]]);
  seen.fetches[0].done();
  await settle();
  assert.deepEqual(seen.taken.slice(2), [['alert', 1], ['reading', 2], ['broker', 3]]);
});

test('a board that comes back to another gateway fetches everything once', async () => {
  const { events, seen, source } = board();
  source.say('hello');
  source.say('resync', { lagging: false });
  seen.fetches[0].done();
  await settle();
  assert.equal(events.knowledge(), 'known');
  await pass(5_000);
  assert.equal(seen.fetches.length, 1);
  // What was lost out of the middle of the stream is fetched, whatever is under way.
  source.say('hello');
  source.say('resync', { lagging: true });
  seen.fetches[1].done();
  await settle();
  await pass(5_000);
  assert.equal(seen.fetches.length, 3);
});

test('events that do not fit into the waiting are fetched', async () => {
  const { events, seen, source } = board();
  source.say('hello');
  for (let n = 0; n <= 5_000; n += 1) source.say('reading', { n });
  seen.fetches[0].done();
  await settle();
  assert.equal(events.knowledge(), 'loading');
  await pass(5_000);
  assert.equal(seen.fetches.length, 2);
});

test('an event that cannot be taken is told, stops nothing, and everything is fetched', async () => {
  const { seen, source } = board();
  source.say('hello');
  seen.fetches[0].done();
  await settle();
  source.say('reading', { bad: true });
  source.say('reading', '{"cut off');
  source.say('reading', { n: 1 });
  assert.equal(seen.faults, 2);
  assert.deepEqual(seen.taken, [['reading', 1]]);
  await pass(5_000);
  assert.equal(seen.fetches.length, 2);
});

test('readings of unknown devices are fetched soon, none of them forgotten', async () => {
  const { events, seen } = board();
  events.resyncSoon();
  await pass(0);
  assert.equal(seen.fetches.length, 1);
  seen.fetches[0].done();
  await settle();
  events.resyncSoon();
  events.resyncSoon();
  await pass(4_999);
  assert.equal(seen.fetches.length, 1);
  await pass(1);
  assert.equal(seen.fetches.length, 2);
});

test('a stream that tries to connect for ever is opened anew', async () => {
  globalThis.fetch = async () => new Response('{}');
  const { events, source } = board();
  source.readyState = 0;
  await pass(20_001);
  await events.watch();
  assert.equal(Source.opened.length, 2);
  assert.equal(source.readyState, Source.CLOSED);
});

test('the session is asked for when the county closes the stream', async () => {
  globalThis.fetch = async () => new Response('{}', { status: 401 });
  const { events, seen, source } = board();
  source.close();
  await pass(5_001);
  await events.watch();
  assert.equal(seen.loggedOut, 1);
  assert.equal(Source.opened.length, 1);
});

test('a delivery that is always late is no live link', async () => {
  const { events, source } = board();
  const county = (ms) => ({ server_time: new Date(ms).toISOString() });
  source.say('hello', county(time.ms));
  await pass(60_000);
  source.say('heartbeat', county(time.ms - 30_000));
  assert.equal(events.state(), 'lost');
});
