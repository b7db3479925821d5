import assert from 'node:assert/strict';
import test from 'node:test';
import { Choosing } from '../js/choosing.js';

test('while somebody chooses nothing moves: half a minute, then it is put right once', () => {
  const choosing = new Choosing();
  const held = (times) => times.map((ms) => choosing.holds(true, ms));
  assert.equal(choosing.holds(false, 0), false);
  assert.deepEqual(held([1_000, 5_000, 30_999, 31_000, 31_001, 61_000, 61_001]),
    [true, true, true, false, true, true, false]);
  // It was shut and opened again: the time begins anew.
  assert.equal(choosing.holds(false, 62_000), false);
  assert.deepEqual(held([90_000, 119_999, 120_000]), [true, true, false]);
});

test('who asks for another order while they choose gets it', () => {
  const choosing = new Choosing();
  choosing.release();
  assert.equal(choosing.holds(true, 1_000), true);
  choosing.release();
  assert.deepEqual([2_000, 2_001].map((ms) => choosing.holds(true, ms)), [false, true]);
});
