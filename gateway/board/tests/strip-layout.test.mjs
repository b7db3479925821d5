import assert from 'node:assert/strict';
import test from 'node:test';
import * as layout from '../js/strip-layout.js';

const WIDTH = 500;
const block = (start, count, more = {}) => layout.prepared({
  start: new Date(start).toISOString(), period: { num: 1, den: 250 }, scale: '0.025', offset: 0,
  unit: 'mV', samples: Array.from({ length: count }, () => 0), flags: [], ...more,
});

test('a second is 25 small boxes and a millivolt 10', () => {
  const second = layout.xOf(3_000, WIDTH) - layout.xOf(2_000, WIDTH);
  assert.equal(second / layout.paperOf().pxPerMm, 25);
  const ready = block(0, 1);
  const height = layout.yOf(0, ready, null, 120) - layout.yOf(40, ready, null, 120);
  assert.equal(height / layout.paperOf().pxPerMm, 10);
});

test('the sweep is whole big boxes and never narrower than asked', () => {
  assert.equal(layout.sweepWidth(733, 500), 720);
  assert.equal(layout.sweepWidth(300, 500), 500);
  assert.equal(layout.windowMs(500), 5_000);
  assert.equal(layout.leftEdgeMs(12_300, 500), 10_000);
  assert.equal(layout.xOf(12_300, 500), 230);
});

test('0.4 s without samples are a gap of 10 boxes', () => {
  const blocks = [block(0, 150), block(1_000, 250)];
  const [gap] = layout.gaps(blocks, 2_000);
  assert.deepEqual(gap, { from: 600, to: 1_000, why: 'missing' });
  const [part] = layout.spans(gap.from, gap.to, 2_000, WIDTH);
  assert.equal(part.width / layout.paperOf().pxPerMm, 10);
});

test('blocks that touch have no gap, whatever the milliseconds round to', () => {
  assert.deepEqual(layout.gaps([block(0, 250), block(1_003, 250)], 2_000), []);
  assert.equal(layout.touches(block(0, 250), block(997, 250)), true);
});

test('the gap after the last block grows with the pen', () => {
  assert.deepEqual(layout.gaps([block(0, 250)], 4_000), [{ from: 1_000, to: 4_000, why: 'missing' }]);
});

test('lead-off blocks are one gap with its own word', () => {
  const off = { flags: ['lead_off'] };
  const blocks = [block(0, 250), block(1_000, 250, off), block(2_000, 250, off), block(3_000, 250)];
  assert.deepEqual(layout.gaps(blocks, 4_000), [{ from: 1_000, to: 3_000, why: 'lead_off' }]);
});

test('where blocks say two things of one moment neither is drawn: they would look like more beats', () => {
  const blocks = [block(0, 500), block(1_600, 100), block(1_900, 250), block(2_896, 250)];
  assert.deepEqual(layout.gaps(blocks, 5_000), [
    { from: 1_600, to: 2_000, why: 'overlap' }, { from: 3_896, to: 5_000, why: 'missing' },
  ]);
  const gaps = layout.gaps(blocks, 5_000);
  assert.deepEqual([1_596, 1_600, 1_996, 2_000].map(layout.drawnOf(blocks[0], gaps)), [true, false, false, true]);
  // A long block that was begun earlier reaches over what comes after the next one.
  assert.deepEqual(layout.gaps([block(0, 1_000), block(500, 125), block(2_000, 250)], 4_000), [
    { from: 500, to: 1_000, why: 'overlap' }, { from: 2_000, to: 3_000, why: 'overlap' },
  ]);
  // Rounded milliseconds hide nothing.
  assert.ok(layout.drawnOf(blocks[3], gaps)(2_896));
});

test('what goes round the edge is two parts, and the eraser takes the oldest', () => {
  assert.deepEqual(layout.spans(4_800, 5_300, 6_000, WIDTH),
    [{ left: 480, width: 20 }, { left: 0, width: 30 }]);
  assert.deepEqual(layout.spans(0, 1_300, 6_000, WIDTH), []);
});

test('blocks are kept in order, once, and not for ever', () => {
  let blocks = [];
  for (const start of [2_000, 1_000, 2_000]) blocks = layout.withBlock(blocks, block(start, 250), 3_000);
  assert.deepEqual(blocks.map(({ start }) => start), [1_000, 2_000]);
  assert.equal(layout.withBlock(blocks, block(60_000, 250), 61_000).length, 1);
});

test('the delay fits the latest blocks', () => {
  assert.equal(layout.delayFor([]), 2_000);
  assert.equal(layout.delayFor([300, 1_200]), 2_000);
  assert.equal(layout.delayFor([2_300]), 3_000);
  assert.equal(layout.delayFor([60_000]), 10_000);
  assert.equal(layout.isLive(1_000), true);
  assert.equal(layout.isLive(3_600_000), false);
  assert.equal(layout.isLive(-3_600_000), false);
});

test('without a scale in millivolts the strip is not calibrated', () => {
  assert.equal(layout.isCalibrated([]), false);
  assert.equal(layout.isCalibrated([block(0, 10)]), true);
  assert.equal(layout.isCalibrated([block(0, 10), block(40, 10, { scale: null })]), false);
  assert.equal(layout.isCalibrated([block(0, 10, { unit: 'mm[Hg]' })]), false);
});

test('the height in counts only grows, and a flat line stays flat', () => {
  const flat = layout.grownRange(null, [127, 128, 129]);
  assert.deepEqual(flat, { low: 96, high: 160 });
  const grown = layout.grownRange(flat, [20, 230]);
  assert.deepEqual(grown, { low: 20, high: 230 });
  assert.deepEqual(layout.grownRange(grown, [128]), grown);
  const noise = layout.yOf(127, null, grown, 120) - layout.yOf(129, null, grown, 120);
  assert.ok(noise < 2);
});

test('other paper has other lengths, and both axes go by one box', () => {
  const paper = layout.paperOf({ speed: 50, gain: 5, pxPerMm: 3 });
  assert.equal(paper.pxPerSecond / paper.pxPerMm, 50);
  assert.equal(paper.pxPerMv / paper.pxPerMm, 5);
  const second = layout.xOf(2000, 9000, paper) - layout.xOf(1000, 9000, paper);
  assert.ok(Math.abs(second - paper.pxPerSecond) < 1e-9);
});

test('calipers tell time and rate, and millivolts where there is a scale', () => {
  const [a, b] = [{ x: 10, y: 20 }, { x: 90, y: 60 }].map((place) => layout.pointOf(place, 160, layout.paperOf()));
  assert.deepEqual(layout.between(a, b, true), { ms: 800, bpm: 75, mv: '1.00' });
  assert.deepEqual(layout.between(b, a, false), { ms: 800, bpm: 75, mv: null });
  assert.equal(layout.between(a, a, true).bpm, null);
});

test('a caliper stays on its wave when the paper is another', () => {
  const point = layout.pointOf({ x: 100, y: 40 }, 160, layout.paperOf());
  assert.deepEqual(point, { ms: 1000, level: 1 });
  const other = layout.paperOf({ speed: 50, gain: 5, pxPerMm: 4 });
  assert.deepEqual(layout.placeOf(point, 160, other), { x: 200, y: 60 });
  // Without a scale a gain that somebody chose for others moves nothing.
  const [five, twenty] = [5, 20].map((gain) => ({ ...layout.paperOf({ gain }), gain: null }));
  const place = { x: 100, y: 40 };
  assert.deepEqual(layout.placeOf(layout.pointOf(place, 160, five), 160, twenty), place);
});

test('a card tells the size of the screen, unless it cannot be', () => {
  assert.equal(Math.round(layout.pxPerMmOf(342.4)), 4);
  assert.equal(layout.pxPerMmOf(20), null);
  assert.equal(layout.pxPerMmOf(5000), null);
});

test('what is taller than the paper is beyond one of its edges; what nobody scaled never is', () => {
  const [high, low] = [2.2, -2.2].map((mv) => block(0, 2, { scale: '1', samples: [0, mv] }));
  assert.equal(layout.leavesPaper([high], null, 120), true);
  assert.equal(layout.leavesPaper([low], null, 120), true);
  assert.equal(layout.leavesPaper([high], null, 120, layout.paperOf({ gain: 5 })), false);
  assert.deepEqual([-1, 0, 120, 121].map((y) => layout.edgeOf(y, 120)), [-1, 0, 0, 1]);
  const raw = block(0, 2, { scale: null, samples: [0, 30_000] });
  assert.equal(layout.leavesPaper([raw], layout.grownRange(null, raw.samples), 120), false);
});

test('of the rows of paper the one with most of a gap says how long it is', () => {
  const rows = [0, 10, 20].map((from) => ({ from, to: from + 10 }));
  assert.equal(layout.rowOf({ from: 6, to: 13 }, rows), rows[0]);
  assert.equal(layout.rowOf({ from: 9, to: 13 }, rows), rows[1]);
  assert.equal(layout.rowOf({ from: 5, to: 15 }, rows), rows[0]);
});

test('a gap before the first block is of the whole stretch', () => {
  const block = { start: 12_000, end: 13_000, flags: [] };
  assert.deepEqual(layout.gapsWithin([block], { from: 0, to: 20_000 }),
    [{ from: 0, to: 12_000, why: 'missing' }, { from: 13_000, to: 20_000, why: 'missing' }]);
});
