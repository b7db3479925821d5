import assert from 'node:assert/strict';
import test from 'node:test';
import {
  beginningsOf, begunMs, cellsOf, compareAlerts, compareMissed, heldOrder, holds, isNewer, isStation,
  isUnacknowledged, sectionOf, seriesOf, tileAlert,
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

test('what began while nobody saw: the more urgent first, then the older; again is a beginning too', () => {
  const began = (id, priority, raised, again = []) => ({
    id, priority, raised_at: raised, timeline: again.map((at) => ({ what: 'recurred', at })),
  });
  const old = began('again', 'high', '2026-11-22T01:00:00Z', ['2026-11-22T01:07:00Z', '2026-11-22T01:09:00Z']);
  assert.equal(begunMs(old), Date.parse('2026-11-22T01:09:00Z'));
  const risen = began('risen', 'high', '2026-11-22T01:00:00Z');
  risen.timeline.push({ what: 'realarmed', at: '2026-11-22T01:05:00Z' });
  risen.timeline.push({ what: 'priority_rose', at: '2026-11-22T01:04:00Z' });
  assert.deepEqual(beginningsOf(risen), [
    Date.parse('2026-11-22T01:00:00Z'), Date.parse('2026-11-22T01:04:00Z'),
  ]);
  assert.deepEqual([
    began('low', 'low', '2026-11-22T01:01:00Z'), old, began('medium', 'medium', '2026-11-22T01:02:00Z'),
    began('high', 'high', '2026-11-22T01:08:00Z'),
  ].sort(compareMissed).map(({ id }) => id), ['high', 'again', 'medium', 'low']);
});

test('what is on the shelf holds while its condition does', () => {
  const is = (state, condition = state) => holds({ state, condition });
  for (const state of ['active_unack', 'active_ack', 'unknown']) {
    assert.ok(is(state) && is('shelved', state), state);
  }
  for (const over of ['cleared_unack', 'closed']) assert.ok(!is(over) && !is('shelved', over), over);
  for (const aside of ['suppressed', 'out_of_service']) assert.ok(!is(aside, 'active_unack'), aside);
});

test('a newer high goes below the older high', () => {
  assert.deepEqual(sorted([
    alert('new', 'high', 'active_unack', '2026-11-22T01:05:00Z'), alert('old', 'high', 'active_unack'),
  ]), ['old', 'new']);
});

test('what is over and unseen stands below what holds or is unknown, and above what is in hand', () => {
  assert.deepEqual(sorted([
    alert('ack', 'high', 'active_ack'), alert('medium', 'medium', 'active_unack'),
    alert('over', 'high', 'cleared_unack'), alert('unknown', 'high', 'unknown'),
    alert('holds', 'high', 'active_unack', '2026-11-22T01:05:00Z'),
  ]), ['holds', 'medium', 'unknown', 'over', 'ack']);
});

test('what came late, is shelved or stands behind another has its own part of the list', () => {
  const parts = {
    open: alert('a', 'high', 'active_unack'),
    cleared: alert('a', 'high', 'cleared_unack'),
    rest: alert('a', 'low', 'active_unack'),
    late: { ...alert('a', 'high', 'cleared_unack'), retro: true },
    shelved: alert('a', 'high', 'shelved'),
    aside: alert('a', 'high', 'suppressed'),
  };
  for (const [part, one] of Object.entries(parts)) assert.equal(sectionOf(one), part);
});

test('an unknown alert that somebody has in hand needs no acknowledging', () => {
  assert.equal(isUnacknowledged(alert('a', 'high', 'unknown')), true);
  assert.equal(isUnacknowledged({ ...alert('a', 'high', 'unknown'), acknowledged_by: 'L' }), false);
});

test('an alert in a state of a later county is listed last and asks for nothing', () => {
  const strange = alert('strange', 'high', 'of_tomorrow');
  assert.deepEqual(sorted([strange, alert('low', 'low', 'active_unack')]), ['low', 'strange']);
  assert.equal(isUnacknowledged(strange), false);
  assert.equal(tileAlert([strange]).id, 'strange');
});

test('while held nothing moves and new rows go last', () => {
  assert.deepEqual(heldOrder(['b', 'c'], ['a', 'b', 'c']), ['b', 'c', 'a']);
  // While somebody chooses above it, what is new stands above what is over.
  const shown = ['b', '#over', 'c'];
  assert.deepEqual(heldOrder(shown, ['a', ...shown], 'b'), ['b', 'a', '#over', 'c']);
  assert.deepEqual(heldOrder(shown, ['a', ...shown], 'c'), ['b', '#over', 'c', 'a']);
});

test('a station carries devices that are named after it', () => {
  const [station, pump, other] = ['pump-01', 'pump-01-40864', 'pump-02'].map((device) => (
    { site: 'a', kind: 'pump', device }
  ));
  assert.equal(isStation(station, [station, pump, other]), true);
  assert.equal(isStation(other, [station, pump, other]), false);
  assert.equal(isStation({ ...station, site: 'b' }, [station, pump]), false);
});

test('a tile names what holds before what is unknown or over', () => {
  const over = alert('over', 'high', 'cleared_unack');
  const unknown = alert('unknown', 'high', 'unknown');
  const low = alert('low', 'low', 'active_ack');
  const medium = alert('medium', 'medium', 'active_unack');
  assert.equal(tileAlert([]), undefined);
  assert.equal(tileAlert([over, unknown, low, medium]).id, 'medium');
  assert.equal(tileAlert([over, unknown]).id, 'unknown');
});

test('an alert speaks of the newest reading of its metric, or of none where nobody knows', () => {
  const series = new Map([
    ['temp|t1', { metric: 'temp', channel: 't1', value: '36.5' }],
    ['temp|t2', { metric: 'temp', channel: 't2', value: '39.5' }],
    ['hr|', { metric: 'hr', value: '80' }],
  ]);
  assert.equal(seriesOf(series, { metric: 'hr', value: '135' }).value, '80');
  assert.equal(seriesOf(series, { metric: 'temp', value: '39.5' }).channel, 't2');
  assert.equal(seriesOf(series, { metric: 'temp', value: '39.9' }), undefined);
  assert.equal(seriesOf(series, { metric: 'spo2', value: '80' }), undefined);
});

const reading = (metric, seq, observed, more = {}) => (
  {
    metric, seq, placed_time: observed, received_time: observed, measured_time: observed,
    group: 'nibp/0', channel: '', ...more,
  }
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

const NOW = '2026-11-22T02:00:00Z';
const ms = (text) => Date.parse(text);
/** Of a memory: when the county says that it was measured, and when it was heard. */
const stored = (measured, observed = NOW) => reading('glu_cap_pl', 1, observed, {
  measured_time: measured,
});

test('what the clock of a box said orders nothing', () => {
  const said = (seq, placed, time) => reading('hr', seq, placed, { observed_time: time });
  const ahead = said(5, NOW, '2026-11-22T03:00:00Z');
  assert.equal(isNewer(said(1, '2026-11-22T02:00:05Z', '2026-11-22T02:00:05Z'), ahead), true);
  assert.equal(isNewer(said(1, '2026-11-22T02:00:05Z', '1970-01-01T00:00:05Z'), ahead), true);
});

test('an older or repeated reading does not replace the newer one', () => {
  const shown = reading('hr', 2, '2026-11-22T02:00:00Z');
  assert.equal(isNewer(reading('hr', 1, '2026-11-22T01:00:00Z'), shown), false);
  assert.equal(isNewer(reading('hr', 3, '2026-11-22T03:00:00Z'), shown), true);
  assert.equal(isNewer(reading('hr', 3, '2026-11-22T03:00:00Z', { duplicate_of: 7 }), shown), false);
  assert.equal(isNewer(reading('hr', 1, '2026-11-22T01:00:00Z'), undefined), true);
});

test('of one outbox the order counts in which they were heard, whatever the clock did', () => {
  const sent = (seq, observed) => reading('hr', seq, observed, { outbox: 'a', lane: 'trend', index: 0 });
  const shown = sent(5, '2026-11-22T03:00:00Z');
  assert.equal(isNewer(sent(6, '2026-11-22T02:00:01Z'), shown), true);
  assert.equal(isNewer(sent(4, '2026-11-22T04:00:00Z'), shown), false);
});

test('what is measured once is ordered by when the county says that it was', () => {
  const shown = stored('2026-11-22T01:00:00Z', '2026-11-22T03:00:00Z');
  assert.equal(isNewer(stored('2026-11-22T01:59:00Z'), shown, true), true);
  assert.equal(isNewer(stored('2026-11-22T00:59:00Z'), shown, true), false);
});

test('a value just measured by a meter whose clock was reset replaces the one before', () => {
  const shown = stored('2026-11-22T01:00:00Z', '2026-11-22T01:01:00Z');
  assert.equal(isNewer(stored('2000-01-01T00:09:00Z'), shown, true), true);
  assert.equal(isNewer(stored('2026-11-22T02:30:00Z', '2026-11-22T02:31:00Z'),
    stored('2000-01-01T00:09:00Z'), true), true);
});

test('what a memory gives up late does not replace what was measured after it', () => {
  const shown = stored('2026-11-22T01:00:00Z', '2026-11-22T01:01:00Z');
  assert.equal(isNewer(stored('2026-11-20T01:00:00Z'), shown, true), false);
  // In one reading-out also what is older than any memory.
  const first = stored('2026-11-22T01:00:00Z');
  assert.equal(isNewer(stored('2024-01-01T00:00:00Z'), first, true), false);
  assert.equal(isNewer(first, stored('2024-01-01T00:00:00Z'), true), true);
});
