// When a page that is open for weeks begins anew.

import assert from 'node:assert/strict';
import test, { beforeEach } from 'node:test';

/** 2026-11-26 09:30 on a Thursday, where the clinics are. */
const BEGIN = Date.parse('2026-11-26T01:30:00Z');
const HOUR_MS = 3_600_000;
const time = { ms: BEGIN };
globalThis.window = {
  __clinicClock: { now: () => time.ms, setTimeout: () => 0, clearTimeout: () => {} },
};
const county = { plans: [], answers: true, asked: [] };
globalThis.fetch = async (path) => {
  county.asked.push(path);
  if (!county.answers) throw new TypeError('out of reach');
  const body = path.endsWith('/duty') ? { plans: county.plans } : { name: 'li' };
  return { ok: true, status: 200, headers: new Map(), text: async () => JSON.stringify(body) };
};
const { Shift, changesOf, lastChange } = await import('../js/shift.js');
const { store } = await import('../js/store.js');
const { Touch } = await import('../js/touch.js');

const at = (text) => Date.parse(`${text}+08:00`);
const plan = (...shifts) => ({
  township: null,
  shifts: shifts.map(([level, from, until]) => ({
    level, from_hour: from, until_hour: until, person: 'wang',
  })),
});

beforeEach(() => {
  Object.assign(time, { ms: BEGIN });
  Object.assign(county, { plans: [], answers: true, asked: [] });
  store.alerts.clear();
});

/** A page that was opened now, and how often it began anew. */
async function page({ isFree = () => true, isOld = () => false } = {}) {
  let renewed = 0;
  const shift = new Shift({ isFree, isOld, renew: () => { renewed += 1; } });
  await shift.watch();
  return {
    shift,
    async at(ms) {
      time.ms = ms;
      await shift.watch();
      return renewed;
    },
  };
}

test('shifts change as the plan of whoever is first on duty says, else at eight', () => {
  const wednesday = 48;
  const hours = changesOf([plan(['first', wednesday + 7, wednesday + 15],
    ['second', 3, 9], ['first', 0, 168])]);
  assert.deepEqual(hours, [wednesday + 7]);
  assert.equal(lastChange(hours, BEGIN), at('2026-11-25T07:00:00'));
  assert.equal(lastChange(hours, at('2026-11-25T06:59:59')), at('2026-11-18T07:00:00'));
  const usual = changesOf([plan(['first', 0, 168])]);
  assert.equal(usual.length, 14);
  assert.equal(lastChange(usual, BEGIN), at('2026-11-26T08:00:00'));
  assert.equal(lastChange(usual, at('2026-11-26T20:00:00')), at('2026-11-26T20:00:00'));
  assert.equal(lastChange(usual, at('2026-11-30T01:00:00')), at('2026-11-29T20:00:00'));
});

test('it begins anew once when the shift has changed, and not before', async () => {
  const one = await page();
  assert.equal(await one.at(at('2026-11-26T19:59:00')), 0);
  assert.equal(await one.at(at('2026-11-26T20:00:01')), 1);
  const next = await page();
  assert.equal(await next.at(at('2026-11-27T07:59:00')), 0, 'it was opened in this shift');
  assert.equal(await next.at(at('2026-11-27T08:00:01')), 1);
});

test('it stays while an alert is unacknowledged, and begins anew when somebody has it', async () => {
  const one = await page();
  for (const state of ['active_unack', 'cleared_unack']) {
    store.alerts.set('1', { id: '1', state });
    assert.equal(await one.at(at('2026-11-26T20:00:01')), 0, state);
  }
  store.alerts.set('1', { id: '1', state: 'active_ack' });
  assert.equal(await one.at(at('2026-11-26T20:05:00')), 1);
});

test('it stays under a hand, in the middle of something, and where the county does not answer', async () => {
  let free = true;
  const one = await page({ isFree: () => free });
  time.ms = at('2026-11-26T19:59:30');
  one.shift.touch.onTouch();
  assert.equal(await one.at(at('2026-11-26T20:01:00')), 0);
  free = false;
  assert.equal(await one.at(at('2026-11-26T20:03:00')), 0);
  free = true;
  county.answers = false;
  assert.equal(await one.at(at('2026-11-26T20:04:00')), 0);
  assert.ok(county.asked.length > 1);
  county.answers = true;
  assert.equal(await one.at(at('2026-11-26T20:05:00')), 1);
});

test('a clock that jumps does not make it begin anew again and again', async () => {
  time.ms = at('2026-11-26T07:59:59');
  const one = await page();
  assert.equal(await one.at(at('2026-11-26T08:00:01')), 0, 'it is a minute old');
  assert.equal(await one.at(BEGIN + HOUR_MS), 1);
});

test('where the county has another board it waits for whoever is at it', async () => {
  let [free, old] = [true, false];
  const one = await page({ isFree: () => free, isOld: () => old });
  assert.equal(await one.at(BEGIN + 60_000), 0, 'it is of the same program');
  old = true;
  one.shift.touch.onTouch();
  assert.equal(await one.at(BEGIN + 89_999), 0, 'somebody is at it');
  free = false;
  assert.equal(await one.at(BEGIN + 90_000), 0, 'something is open');
  free = true;
  assert.equal(await one.at(BEGIN + 90_000), 1);
});

test('where the county has another board it waits ten minutes for a moment without unacknowledged alerts', async () => {
  const one = await page({ isOld: () => true });
  store.alerts.set('1', { id: '1', state: 'active_unack' });
  const next = await page({ isOld: () => true });
  assert.equal(await one.at(BEGIN + 599_000), 0);
  store.alerts.set('1', { id: '1', state: 'active_ack' });
  assert.equal(await one.at(BEGIN + 599_500), 1, 'somebody has it in hand');
  // Some are there for days.
  store.alerts.set('1', { id: '1', state: 'cleared_unack' });
  assert.equal(await next.at(BEGIN + 599_900), 0);
  assert.equal(await next.at(BEGIN + 600_000), 1);
});

test('who only turns the wheel is at the page too', () => {
  const heard = new Map();
  globalThis.document = {
    addEventListener: (kind, run, how) => heard.set(kind, { run, how }), removeEventListener: (kind) => heard.delete(kind),
  };
  const touch = new Touch();
  touch.start();
  time.ms += 60_000;
  assert.equal(touch.agoMs(), 60_000);
  heard.get('wheel').run();
  assert.equal(touch.agoMs(), 0);
  // A browser that waits for what listens to the wheel scrolls late.
  assert.equal(heard.get('wheel').how.passive, true);
  touch.close();
  assert.equal(heard.size, 0);
});
