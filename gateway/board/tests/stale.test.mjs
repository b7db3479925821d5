import assert from 'node:assert/strict';
import test from 'node:test';
import {
  ageOf, isAhead, isHidden, linkState, ruleOf, staleness, tileStaleness, untilLimitMs, untilLinkMs, worstLink,
} from '../js/stale.js';

test('a stream number ages after 5 s and gives way to dashes after 15 s', () => {
  assert.equal(staleness('stream', 5_000), 'fresh');
  assert.equal(staleness('stream', 5_001), 'ageing');
  assert.equal(staleness('stream', 15_000), 'ageing');
  assert.equal(staleness('stream', 15_001), 'stale');
  assert.equal(isHidden('stream', 15_000), false);
  assert.equal(isHidden('stream', 15_001), true);
});

test('how long it is until a number or the link is called another, from any age', () => {
  const until = (rule, ages) => ages.map((ageMs) => untilLimitMs({ rule, ageMs }));
  assert.deepEqual(until('stream', [0, 4_999, 5_000, 5_001, 14_000, 15_001, 60_000, 60_001]),
    [5_001, 2, 1, 10_000, 1_001, 45_000, 1, Infinity]);
  assert.deepEqual(until('pump', [30_000, 30_001, 90_001]), [1, 60_000, Infinity]);
  // One that speaks every five minutes is hatched when it is silent.
  const slow = (ageMs) => untilLimitMs({ rule: 'stream', ageMs, intervalMs: 300_000 });
  assert.deepEqual([0, 304_001, 900_001].map(slow), [304_001, 596_000, Infinity]);
  assert.equal(untilLimitMs({ rule: 'spot', ageMs: 1_800_000 }), 1);
  // Then it is another.
  for (const rule of ['stream', 'pump', 'spot']) {
    const ageMs = untilLimitMs({ rule, ageMs: 0 });
    assert.deepEqual([staleness(rule, ageMs - 1), staleness(rule, ageMs)], ['fresh', 'ageing']);
  }
  assert.deepEqual([0, 9_000, 10_001, 20_000, 20_001].map(untilLinkMs), [10_001, 1_001, 10_000, 1, Infinity]);
  assert.deepEqual([10_000, 10_001, 20_001].map(linkState), ['live', 'slow', 'lost']);
});

test('a device that speaks every five minutes ages when its word is overdue, and is silent after three', () => {
  const every = 300_000;
  assert.equal(staleness('stream', 304_000, every), 'fresh');
  assert.equal(staleness('stream', 304_001, every), 'ageing');
  assert.equal(isHidden('stream', 900_000, every), false);
  assert.equal(isHidden('stream', 900_001, every), true);
  const tile = (ageMs) => tileStaleness([{ rule: 'stream', ageMs, intervalMs: every }], 'online');
  assert.deepEqual(tile(900_000), { stale: 'ageing', hatched: false });
  assert.deepEqual(tile(900_001), { stale: 'stale', hatched: true });
  // A quick one has the limits of all others, and what is measured once has no pace.
  assert.equal(staleness('stream', 5_001, 1_000), 'ageing');
  assert.equal(isHidden('stream', 15_001, 4_000), true);
  assert.equal(isHidden('pump', 90_000, 10_000), false);
  assert.equal(staleness('spot', 31 * 60_000, every), 'ageing');
});

test('a pump has 30 and 90 s', () => {
  assert.equal(ruleOf('stream', 'pump'), 'pump');
  assert.equal(ruleOf('state', 'pump'), 'pump');
  assert.equal(staleness('pump', 30_001), 'ageing');
  assert.equal(isHidden('pump', 90_000), false);
  assert.equal(isHidden('pump', 90_001), true);
});

test('a value that was measured once stays with its time', () => {
  assert.equal(ruleOf('spot', 'monitor'), 'spot');
  assert.equal(ruleOf('stream', 'cuff'), 'spot');
  assert.equal(staleness('spot', 31 * 60_000), 'ageing');
  assert.equal(staleness('spot', 241 * 60_000), 'stale');
  assert.equal(isHidden('spot', 241 * 60_000), false);
});

test('a tile follows the youngest number that repeats and is hatched after a minute', () => {
  const spot = { rule: 'spot', ageMs: 0 };
  const stream = (ageMs) => ({ rule: 'stream', ageMs });
  assert.deepEqual(tileStaleness([spot, stream(3_000), stream(90_000)], 'online'),
    { stale: 'fresh', hatched: false });
  assert.deepEqual(tileStaleness([spot, stream(60_000)], 'online'),
    { stale: 'stale', hatched: false });
  assert.deepEqual(tileStaleness([spot, stream(60_001)], 'online'),
    { stale: 'stale', hatched: true });
  assert.deepEqual(tileStaleness([{ rule: 'pump', ageMs: 90_001 }], 'online'),
    { stale: 'stale', hatched: true });
});

test('a device with single measurements is stale when it is gone', () => {
  assert.deepEqual(tileStaleness([{ rule: 'spot', ageMs: 9e9 }], 'online'),
    { stale: 'fresh', hatched: false });
  assert.deepEqual(tileStaleness([], 'silent'), { stale: 'stale', hatched: true });
  assert.deepEqual(tileStaleness([], 'waiting'), { stale: 'fresh', hatched: false });
});

test('the link is slow after 10 s and lost after 20', () => {
  assert.deepEqual([10_000, 10_001, 20_000, 20_001].map(linkState),
    ['live', 'slow', 'slow', 'lost']);
});

test('of two link states the worse counts', () => {
  assert.equal(worstLink('live', 'slow'), 'slow');
  assert.equal(worstLink('lost', 'slow'), 'lost');
  assert.equal(worstLink('live', 'live'), 'live');
});

test('what a page has known for a while is no younger, however far ahead its time lies', () => {
  assert.equal(ageOf(1_000, 9_000, 3_000), 8_000);
  assert.equal(ageOf(600_000, 9_000, 3_000), 3_000);
  assert.equal(ageOf(600_000, 9_000), 0);
  assert.deepEqual([14_000, 14_001].map((atMs) => isAhead(atMs, 9_000)), [false, true]);
});
