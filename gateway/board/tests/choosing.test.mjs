import assert from 'node:assert/strict';
import test from 'node:test';
import { Choosing } from '../js/choosing.js';

test('while somebody chooses nothing moves: half a minute, and not again for what nobody closes', () => {
  const choosing = new Choosing();
  const held = (what, times) => times.map((ms) => choosing.holds(what, ms));
  assert.equal(choosing.holds(null, 0), false);
  assert.deepEqual(held('a', [1_000, 5_000, 30_999, 31_000, 31_001, 61_000, 600_000]),
    [true, true, true, false, false, false, false]);
  // Another was opened: its time begins.
  assert.deepEqual(held('b', [601_000, 630_999, 631_000]), [true, true, false]);
  // It was shut and opened again: the time begins anew.
  assert.equal(choosing.holds(null, 632_000), false);
  assert.deepEqual(held('b', [690_000, 719_999, 720_000]), [true, true, false]);
});

test('who asks for another order while they choose gets it, and it stays from then', () => {
  const choosing = new Choosing();
  choosing.release();
  assert.equal(choosing.holds('a', 1_000), true);
  choosing.release();
  assert.deepEqual([20_000, 20_001, 49_999, 50_000].map((ms) => choosing.holds('a', ms)),
    [false, true, true, false]);
});
