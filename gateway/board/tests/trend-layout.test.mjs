// Where values lie on trends, and what stands around them.

import assert from 'node:assert/strict';
import test from 'node:test';
import * as layout from '../js/trend-layout.js';

const MINUTE = 60_000;

test('a gap stays a gap', () => {
  const points = [0, 1, 2, 6, 7].map((minute) => ({ at: minute * MINUTE }));
  const found = layout.runs(points, MINUTE).map((run) => run.map((point) => point.at / MINUTE));
  assert.deepEqual(found, [[0, 1, 2], [6, 7]]);
  assert.deepEqual(layout.runs([], MINUTE), []);
});

test('the axis of a metric is always the same, and what lies beyond is at its edge and marked', () => {
  const axis = layout.axisOf('hr');
  assert.deepEqual([axis.low, axis.high], [20, 220]);
  assert.deepEqual(layout.yOf(120, axis, 100), { y: 50, out: 0 });
  assert.deepEqual(layout.yOf(260, axis, 100), { y: 0, out: 1 });
  assert.deepEqual(layout.yOf(10, axis, 100), { y: 100, out: -1 });
  for (const plot of layout.PLOTS) assert.ok(layout.axisOf(plot).ticks.length >= 3, plot);
});

test('the pressures share one plot, and what has none is left out', () => {
  assert.equal(layout.plotOf('nibp_sys'), 'nibp');
  assert.equal(layout.plotOf('glucose'), 'glucose');
  assert.equal(layout.plotOf('st'), null);
  assert.equal(layout.plotOf('toString'), null);
});

test('points keep the texts of the county', () => {
  const [point] = layout.pointsOf({
    device: 'a',
    metric: 'hr',
    points: [{
      at: '2026-11-22T08:00:00Z', min: '60', median: '70', max: '90', backfilled: true, doubted: false,
    }],
  });
  assert.deepEqual([point.texts, point.value, point.hollow], [['70', '60', '90'], 70, true]);
});

test('every meal has a shape of its own', () => {
  const meals = ['meal_fast', 'meal_pre', 'meal_post', 'meal_bed', 'meal_casual'];
  assert.equal(new Set(meals.map(layout.mealShape)).size, 5);
  assert.equal(layout.mealShape(undefined), 'ring');
});

test('bands follow the programme', () => {
  const of = (more) => {
    const band = layout.pressureBands({ groups: [], diabetes: false, ...more });
    return band && [band.sys, band.dia, band.lines.length];
  };
  assert.deepEqual(of({}), [140, 90, 0]);
  assert.deepEqual(of({ groups: ['elderly'] }), [150, 90, 0]);
  assert.deepEqual(of({ diabetes: true }), [130, 80, 0]);
  assert.deepEqual(of({ diabetes: true, groups: ['elderly'] }), [150, 90, 0]);
  assert.deepEqual(of({ groups: ['pregnant'] }), [140, 90, 2]);
  assert.equal(of({ groups: ['child'] }), null);
  assert.deepEqual(layout.glucoseBands({ groups: ['pregnant'] }).fasting, [3.9, 5.3]);
});

test('a result that was moved away is no point of this patient, and one of a patient none of nobody', () => {
  const reading = (patient) => ({
    value: '5.4', validity: 'valid', patient, measured_time: '2026-11-22T08:00:00Z',
  });
  const results = ['p-1', 'p-2', null].map((patient) => ({ readings: [reading(patient)] }));
  const whose = (patient) => layout.resultPoints(results, patient).map((point) => point.reading.patient);
  assert.deepEqual(whose('p-1'), ['p-1']);
  assert.deepEqual(whose(null), [null]);
});

test('the nearest value', () => {
  assert.equal(layout.nearest([{ at: 0 }, { at: 10 }], 6), 1);
  assert.equal(layout.nearest([], 6), -1);
});

test('a pressure is beside its aim; who has none has no arrow', () => {
  const aim = layout.pressureBands({ groups: [] });
  const of = (sys, dia, whose = aim) => {
    const { above, below } = layout.besideAim({ sys, dia }, whose);
    return [above, below];
  };
  assert.deepEqual([of(120, 80), of(140, 80), of(120, 90), of(85, 60)],
    [[false, false], [true, false], [true, false], [false, true]]);
  assert.deepEqual(of(82, 50, layout.pressureBands({ groups: ['child'] })), [false, false]);
  // One of the two was measured.
  assert.deepEqual([of(null, 80), of(null, 95), of(150, null)],
    [[false, false], [true, false], [true, false]]);
});
