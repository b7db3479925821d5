import assert from 'node:assert/strict';
import test from 'node:test';
import {
  cellsOf, compareAlerts, compareDevices, heldOrder, highestPriority, isNewer, isUnacknowledged,
  measuredMs,
} from '../js/order.js';

const alert = (id, priority, state, started = '2026-11-22T01:00:00Z') => (
  { id, priority, state, started_at: started, acknowledged_by: null }
);
const sorted = (alerts) => [...alerts].sort(compareAlerts).map(({ id }) => id);

test('unacknowledged high, medium, unknown, acknowledged, low', () => {
  assert.deepEqual(sorted([
    alert('low', 'low', 'active_unack'), alert('ack', 'high', 'active_ack'),
    alert('unknown', 'high', 'unknown'), alert('medium', 'medium', 'active_unack'),
    alert('shelved', 'high', 'shelved'), alert('high', 'high', 'active_unack'),
  ]), ['high', 'medium', 'unknown', 'ack', 'low', 'shelved']);
});

test('a newer high goes below the older high', () => {
  assert.deepEqual(sorted([
    alert('new', 'high', 'active_unack', '2026-11-22T01:05:00Z'), alert('old', 'high', 'active_unack'),
  ]), ['old', 'new']);
});

test('a high that still holds stands above one that is over, and that above a medium', () => {
  assert.deepEqual(sorted([
    alert('medium', 'medium', 'active_unack'), alert('over', 'high', 'cleared_unack'),
    alert('holds', 'high', 'active_unack', '2026-11-22T01:05:00Z'),
  ]), ['holds', 'over', 'medium']);
});

test('an unknown alert that somebody has in hand needs no acknowledging', () => {
  assert.equal(isUnacknowledged(alert('a', 'high', 'unknown')), true);
  assert.equal(isUnacknowledged({ ...alert('a', 'high', 'unknown'), acknowledged_by: 'L' }), false);
});

test('while held nothing moves and new rows go last', () => {
  assert.deepEqual(heldOrder(['b', 'c'], ['a', 'b', 'c']), ['b', 'c', 'a']);
});

test('tiles stand by site and device', () => {
  const devices = [['b', '1'], ['a', '2'], ['a', '1']].map(([site, device]) => ({ site, device }));
  assert.deepEqual(devices.sort(compareDevices).map((d) => d.site + d.device), ['a1', 'a2', 'b1']);
});

test('a tile has its highest priority', () => {
  assert.equal(highestPriority([]), 'none');
  assert.equal(highestPriority([{ priority: 'low' }, { priority: 'high' }]), 'high');
});

const reading = (metric, seq, observed, more = {}) => (
  { metric, seq, observed_time: observed, group: 'nibp/0', channel: '', ...more }
);

test('parts of two inflations are never mixed', () => {
  const [early, late] = ['2026-11-22T01:00:00Z', '2026-11-22T02:00:00Z'];
  const [cell] = cellsOf([
    reading('nibp_mean', 1, early), reading('nibp_dia', 2, late), reading('nibp_sys', 2, late),
  ], () => 'spot');
  assert.deepEqual(cell.parts.map((part) => part.metric), ['nibp_sys', 'nibp_dia']);
});

test('waves and events have no cell, channels have one each', () => {
  const at = '2026-11-22T01:00:00Z';
  const kinds = { hr: 'stream', temp: 'stream', ecg_wave_ii: 'wave', lead_off: 'event' };
  const cells = cellsOf([
    reading('temp', 1, at, { channel: 't2' }), reading('temp', 1, at, { channel: 't1' }),
    reading('ecg_wave_ii', 1, at), reading('lead_off', 1, at), reading('hr', 1, at),
  ], (metric) => kinds[metric]);
  assert.deepEqual(cells.map((cell) => cell.key), ['hr|', 'temp|t1', 'temp|t2']);
});

test('the device says when it measured, unless its clock is ahead', () => {
  const observed = '2026-11-22T02:00:00Z';
  const at = (device) => measuredMs({ observed_time: observed, device_time: device });
  assert.equal(at('2026-11-22T01:00:00Z'), Date.parse('2026-11-22T01:00:00Z'));
  assert.equal(at('2027-01-01T00:00:00Z'), Date.parse(observed));
  assert.equal(at(null), Date.parse(observed));
});

test('an older or repeated reading does not replace the newer one', () => {
  const shown = reading('hr', 2, '2026-11-22T02:00:00Z');
  assert.equal(isNewer(reading('hr', 1, '2026-11-22T01:00:00Z'), shown), false);
  assert.equal(isNewer(reading('hr', 3, '2026-11-22T03:00:00Z'), shown), true);
  assert.equal(isNewer(reading('hr', 3, '2026-11-22T03:00:00Z', { duplicate_of: 7 }), shown), false);
  assert.equal(isNewer(reading('hr', 1, '2026-11-22T01:00:00Z'), undefined), true);
});
