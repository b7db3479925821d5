// Which alerts sound: by where they stand, not by how late their begin was told.

import assert from 'node:assert/strict';
import test from 'node:test';

import {
  Sounding, mostUrgent, soundKey, soundOf,
} from '../js/sounding.js';

const alert = {
  id: 'a', priority: 'high', state: 'active_unack', retro: false, quiet: false, late_row: null,
  realarm_count: 0, recurrences: 0, cleared_at: null, timeline: [],
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

/** Over and unseen since 02:00, and reminded of at these minutes after it. */
const over = (minutes, fields = {}) => ({
  ...alert,
  state: 'cleared_unack',
  cleared_at: '2026-11-22T02:00:00Z',
  timeline: minutes.map((minute) => ({ what: 'reminded', at: `2026-11-22T02:${minute}:00Z` })),
  ...fields,
});

test('each reminder of a high one that is over and unseen sounds once, and of no other', () => {
  const sounding = new Sounding();
  const fresh = (one) => sounding.update([one]).fresh.length;
  assert.deepEqual([over([]), over(['05']), over(['05']), over(['05', '10'])].map(fresh), [0, 1, 0, 1]);
  // That it was reminded of before it came again is no reminder of now.
  assert.equal(soundOf(over(['05'], { cleared_at: '2026-11-22T02:07:00Z' })), null);
  for (const other of [{ retro: true }, { priority: 'medium' }, { state: 'active_ack' }, { state: 'unknown' }]) {
    assert.equal(soundOf(over(['05'], other)), null, JSON.stringify(other));
  }
});

test('a reminder is no news to a page that was loaded after it, and ends no pause', () => {
  const sounding = new Sounding();
  assert.deepEqual(sounding.update([over(['05']), alert].map((one, id) => ({ ...one, id }))).fresh.map(({ id }) => id), [1]);
  const { fresh, begins } = sounding.update([over(['05', '10'], { id: 0 })]);
  assert.deepEqual([fresh.length, begins.length], [1, 0]);
});

test('the most urgent of what sounds', () => {
  assert.equal(mostUrgent([{ priority: 'low' }, alert]), 'high');
  assert.equal(mostUrgent([]), null);
});
