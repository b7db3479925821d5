// Which alerts sound: by where they stand, not by how late their begin was told.

import assert from 'node:assert/strict';
import test from 'node:test';

import { mostUrgent, soundKey, soundOf } from '../js/sounding.js';

const alert = {
  id: 'a', priority: 'high', state: 'active_unack', retro: false, quiet: false, late_row: null,
  realarm_count: 0, recurrences: 0,
};

test('what holds sounds, whatever of it came late', () => {
  // A device alarm that began in an outage and is known again, and what came back by fresh values.
  for (const row of [null, 2, 3, 4, 6, 11]) {
    assert.equal(soundOf({ ...alert, late_row: row }), 'repeat', String(row));
    assert.equal(soundOf({ ...alert, late_row: row, priority: 'low' }), 'once');
    assert.equal(soundOf({ ...alert, late_row: row, state: 'unknown' }), null);
    assert.equal(soundOf({ ...alert, late_row: row, state: 'cleared_unack', retro: true }), null);
  }
  assert.equal(soundOf({ ...alert, late_row: 2, retro: true }), null);
});

test('a late result sounds once, and anew when a fresh value says the same', () => {
  const late = { ...alert, late_row: 5 };
  assert.equal(soundOf(late), 'once');
  assert.equal(soundOf(alert), 'repeat');
  assert.notEqual(soundKey(late), soundKey(alert));
});

test('what came back within the time in which it is told once makes no sound', () => {
  const back = { ...alert, priority: 'low', recurrences: 1, quiet: true };
  assert.equal(soundOf(back), null);
  assert.equal(soundOf({ ...back, priority: 'high', quiet: false }), 'repeat');
});

test('the most urgent of what sounds', () => {
  assert.equal(mostUrgent([{ priority: 'low' }, alert]), 'high');
  assert.equal(mostUrgent([]), null);
});
